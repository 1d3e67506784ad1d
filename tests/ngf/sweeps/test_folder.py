"""What a sweep's runs say, all at one moment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ngf.config import Choice, MeasureSpec, PurifySpec, Spec
from ngf.options import SpecError
from ngf.runs.folder import ERROR, RESULT, SPEC
from ngf.runs.store import Store
from ngf.sweeps.folder import Sweep, keep, load, made, names, path_of
from ngf.sweeps.spec import Expansion, Point, SweepSpec
from tests.helpers.run_folders import RACE, TRAIN, measured, write_run

SWEEP = SweepSpec({"kind": "train"}, {"seed": (0,)})
MEASURED = MeasureSpec(target=f"{RACE.id}:ngf", measurement=Choice("fisher_trace"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs", tmp_path / "no-zoo")


def sweep(*specs: Spec) -> Sweep:
    points = tuple(Point({"seed": i}, (spec,)) for i, spec in enumerate(specs))
    return made(SWEEP, Expansion(points, ()))


def result_of(spec: Spec, store: Store) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((store.root / spec.id / RESULT).read_text())
    return found


def test_a_row_for_each_lane_with_what_it_has_cost(store: Store) -> None:
    write_run(store.root, TRAIN, [], done=True)
    write_run(store.root, RACE, [], done=True)
    result = result_of(RACE, store)
    result["lanes"]["sgd"] = {"diverged": {"step": 3, "message": "x", "advice": "y"}}
    result["lanes"]["ngf"] |= {"der": 0.9, "seconds": 4.5}
    (store.root / RACE.id / RESULT).write_text(json.dumps(result))
    ngf, sgd = sweep(RACE).seen(store).rows()
    assert ngf["values"] == {"seed": 0} and ngf["status"] == "done"
    assert (ngf["lane"], ngf["asr"], ngf["der"], ngf["seconds"]) == ("ngf", 0.004, 0.9, 4.5)
    assert ngf["ca_lost"] == pytest.approx(0.992 - 0.986)
    assert sgd["diverged"] == 3 and sgd["ca"] is None and sgd["ca_lost"] is None


def test_the_readings_of_a_measurement(store: Store) -> None:
    write_run(store.root, RACE, [], done=True)
    values = {"fisher_trace": 12.5, "note": "text", "sure": True}
    spec = measured(store, "fisher_trace", f"{RACE.id}:ngf", values, {})
    (row,) = sweep(spec).seen(store).rows()
    assert row["readings"]["fisher_trace"] == 12.5 and row["readings"]["n"] == 64
    assert not {"note", "sure"} & set(row["readings"])
    result = result_of(spec, store)
    result["values"]["fisher_trace"] = 2
    (store.root / spec.id / RESULT).write_text(json.dumps(result))
    assert sweep(spec).seen(store).rows()[0]["readings"]["fisher_trace"] == 2.0, "read anew"


def test_states_and_failures(store: Store) -> None:
    write_run(store.root, TRAIN, [], done=True)
    failed = write_run(store.root, RACE, [])
    (failed / ERROR).write_text(json.dumps({"kind": "x", "message": "no", "advice": "do"}))
    damaged = PurifySpec(parent=TRAIN.id, lanes=(Choice("sgd"),))
    write_run(store.root, damaged, [])
    (store.root / damaged.id / SPEC).write_text("{")
    seen = sweep(TRAIN, RACE, damaged, MEASURED).seen(store)
    assert seen.states() == {"done": 1, "failed": 1, "missing": 2}
    assert seen.unfinished() == [RACE.id, damaged.id, MEASURED.id]
    assert seen.failures() == {RACE.id: "no"}
    assert [row["status"] for row in seen.rows()] == ["done", "failed", "failed", *["missing"] * 2]


def test_a_run_that_ships_is_found_by_its_name(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    shipped = next(store.zoo.glob("*/spec.json")).parent.name
    spec = store.get(shipped).spec
    assert sweep(spec).seen(store).states() == {"done": 1}


def test_many_runs_are_one_look(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [PurifySpec(parent=TRAIN.id, lanes=(Choice("sgd"),), seed=seed) for seed in range(5)]
    for spec in specs:
        store.submit(spec)
    monkeypatch.setattr(store, "find", lambda name: pytest.fail(f"{name} is looked for alone"))
    assert sweep(*specs).seen(store).states() == {"queued": 5}


def test_what_is_kept_comes_back(store: Store) -> None:
    kept = sweep(TRAIN, RACE)
    keep(store, kept)
    assert names(store) == [kept.id] and load(store, kept.id) == kept
    path_of(store, kept.id).write_text('{"spec": {"kind": "sweep"}}')
    with pytest.raises(SpecError):
        load(store, kept.id)
