"""How well the yardstick ranks purified models: its rows, its table, and what ships."""

from __future__ import annotations

import json

import pytest

from evidence import surrogate
from evidence.shipped import SURROGATE, read
from evidence.surrogate import FURTHER, GROUPS, RECORDED, pairs, rows_of, table, todo
from ngf.config import Choice
from ngf.runs.recorded import RACE
from ngf.runs.store import PurifyRun, Store

QUICK = Choice("yardstick", {"num_images": 12, "trigger_steps": 5, "universal_steps": 1})


def row(run: str, method: str, asr: float, left: float) -> dict:
    fixed = {"universal_after": left, "trigger_after": left, "moved": 0.1}
    return {
        **{"run": run, "attack": run, "method": method, "target": 1, "suspicious_class": 1},
        **{"asr": asr, "left": left, **fixed},
    }


ROWS = [
    *(row("a", "ngf", 0.9, 0.8), row("a", "sgd", 0.1, 0.3), row("a", "clp", 0.15, 0.1)),
    *(row("b", "ngf", 0.5, 0.2), row("b", "sgd", 0.0, 0.4)),
]


def test_a_table_counts_pairs_that_differ_and_correlates_within_models():
    found = table(ROWS)
    assert (found["models"], found["lanes"], found["class_is_target"]) == (2, 5, 2)
    assert found["pairs"] == pairs(ROWS) == {"far": 3, "same_order": 2}
    assert found["within"]["left"]["value"] == pytest.approx((0.5 - 1) / 2)
    assert found["within"]["moved"]["value"] is None, "all alike"
    json.dumps(found, allow_nan=False)


def test_lanes_that_ship_come_first_and_nothing_twice(monkeypatch):
    monkeypatch.setattr(surrogate, "_rows", list)
    whole = surrogate.missing()
    assert len(whole) == len(GROUPS) * len(set(whole))
    shipped = [{"run": whole[0], "method": method} for method in RECORDED]
    assert todo(whole[0], shipped) == [FURTHER]
    monkeypatch.setattr(surrogate, "_rows", lambda: shipped)
    assert surrogate.missing() == whole[1:]


def test_a_row_holds_the_true_success_that_the_yardstick_does_not_see():
    race = Store().find(RACE.id)
    assert isinstance(race, PurifyRun)
    ngf, sgd = rows_of(Store(), race, list(RECORDED), QUICK)
    assert (ngf["attack"], ngf["method"], sgd["method"]) == ("badnets", "ngf", "sgd")
    assert ngf["asr_before"] > 0.9 > 0.1 > ngf["asr"]
    assert ngf["universal_before"] == sgd["universal_before"]
    assert ngf["opened"] == sgd["opened"]


def test_what_ships_is_what_its_rows_say():
    found = read(SURROGATE)
    made = table(found["rows"])
    assert {name: found[name] for name in made} == made
