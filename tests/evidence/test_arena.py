"""The rows of the arena: each planned once, gone on with, and nothing left out."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from evidence import arena
from evidence.arena import (
    ABLATED,
    METHODS,
    NUM_CLEAN,
    SLOW,
    Clock,
    Curve,
    changed,
    planned,
    rows,
    sentence,
    specs,
    todo,
)
from evidence.shipped import write
from ngf.catalogue import build
from ngf.evaluate import Rates

ROW = {"method": "ft", "seed": 0, "num_clean": NUM_CLEAN, "ca": 0.9, "asr": 0.1, "seconds": 1.0}


def test_every_cell_is_planned_once():
    attacks = {spec.attack.name for spec in specs()}
    assert len(attacks) == 16 and "none" in attacks
    for spec in specs():
        trials = list(planned(spec))
        assert len(trials) == len({trial.key for trial in trials})
        slow = set() if spec.seed == 0 else set(SLOW)
        assert {trial.method for trial in trials} == {*METHODS, *ABLATED} - slow
    assert specs()[0].seed == 0 and specs()[-1].seed == 2


@pytest.mark.parametrize("name", [*METHODS, *ABLATED])
def test_a_method_is_a_defense_with_its_options(name):
    assert build("defenses", (METHODS | ABLATED)[name]).title


def test_what_is_done_is_not_done_again(monkeypatch, tmp_path):
    monkeypatch.setattr(arena, "FOLDER", tmp_path)
    spec = specs()[0]
    whole = todo(spec)
    before = {"ca": 0.99, "asr": 1.0, "ra": 0.0}
    file = {"run": spec.id, "attack": "badnets", "model_seed": 0, "before": before, "rows": [ROW]}
    write(arena.path_of(spec.id), file)
    assert len(todo(spec)) == len(whole) - 1
    (row,) = rows()
    assert row["before"] == before and row["run"] == spec.id and row["asr"] == 0.1


def test_only_numbers_that_differ_are_changed():
    model = nn.Linear(3, 2)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.weight[0] += 1
    assert changed(model, other) == 3 and changed(model, copy.deepcopy(model)) == 0


def test_the_log_says_what_has_ended_how():
    assert sentence({"refused": "Too few."}) == "refused: Too few."
    assert sentence({"diverged": 3}) == "diverged at step 3"
    benign = {"ca": 0.5, "asr": None, "seconds": 2.0}
    assert sentence(benign) == "CA 0.500 in 2.0 s"
    back = benign | {"asr": 0.1, "asr_reactivated": 0.9}
    assert sentence(back) == "CA 0.500 ASR 0.100 (0.900) in 2.0 s"


class Walk:
    """A purification that is at a step, of so many."""

    model = None

    def __init__(self, steps):
        self.step, self.steps = 0, steps


class Watched:
    def evaluate(self, model):
        return Rates(9, 10, 1, 9, 10)


@pytest.mark.parametrize(("steps", "count"), [(1, 2), (5, 6), (100, 9), (1000, 9)])
def test_a_curve_has_both_ends_and_few_points(steps, count):
    curve, walk = Curve(Watched()), Walk(steps)
    for walk.step in range(steps + 1):
        curve.follow(walk, walk.step / 10)
    found = curve.points
    assert (found["step"][0], found["step"][-1]) == (0, steps)
    assert {len(values) for values in found.values()} == {count}
    assert found["ca"][0] == 0.9 and found["asr"][0] == 0.1 and found["seconds"][-1] == steps / 10


def test_a_stopped_clock_does_not_count(monkeypatch):
    now = iter(range(0, 1000, 10))
    monkeypatch.setattr(arena.time, "process_time", lambda: next(now))
    clock = Clock()  # at 0
    with clock.stopped():  # from 10 to 20
        pass
    assert clock.seconds == 20  # at 30
