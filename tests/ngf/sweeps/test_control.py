"""All runs of a sweep are asked for, paused and cancelled."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ngf.config import Choice, PurifySpec, Spec, TrainSpec
from ngf.runs.store import Store
from ngf.sweeps.control import cancel, pause, submit_all
from tests.helpers.run_folders import epoch_events, write_run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs", tmp_path / "no-zoo")


def specs(*seeds: int) -> dict[str, Spec]:
    trainings = [TrainSpec(seed=seed) for seed in seeds]
    races = [PurifySpec(parent=one.id, lanes=(Choice("sgd"),)) for one in trainings]
    return {spec.id: spec for spec in (*trainings, *races)}


def states(store: Store) -> Counter[str]:
    return Counter(run.status for run in store.runs())


def test_what_is_done_is_not_asked_for_again(store: Store) -> None:
    found = specs(0, 1)
    done = write_run(store.root, TrainSpec(seed=0), epoch_events(2), done=True)
    before = {path.name: path.stat().st_mtime_ns for path in done.iterdir()}
    told: list[int] = []
    submit_all(found, store, "sweep-x", owner="ada", tell=told.append)
    assert told == [1, 2, 3, 4]
    assert {path.name: path.stat().st_mtime_ns for path in done.iterdir()} == before
    assert states(store) == {"done": 1, "queued": 3}
    asked = store.get(TrainSpec(seed=1).id).request
    assert (asked["owner"], asked["sweep"]) == ("ada", "sweep-x")


def test_a_paused_run_goes_on_where_one_may_let_it(store: Store) -> None:
    found = specs(0)
    submit_all(found, store, "sweep-x")
    assert pause(store.runs()) == 2 and states(store) == {"paused": 2}
    assert pause(store.runs()) == 0
    submit_all(found, store, "sweep-x", may=lambda run: run.kind == "train")
    assert states(store) == {"queued": 1, "paused": 1}
    submit_all(found, store, "sweep-x")
    assert states(store) == {"queued": 2}


def test_what_is_cancelled_can_be_asked_for_again(store: Store) -> None:
    found = specs(0, 1)
    submit_all(found, store, "sweep-x")
    order: list[str] = []
    runs = [store.get(run_id) for run_id in found]
    for run in runs:
        run.control = lambda word, run=run: order.append(run.id)  # type: ignore[method-assign]
    assert cancel(runs) == 4 and order == list(reversed(found)), "what waits last stops first"
    assert cancel(store.get(run_id) for run_id in found) == 4
    assert states(store) == {"cancelled": 4} and cancel(store.runs()) == 0
    submit_all(found, store, "sweep-y")
    assert states(store) == {"queued": 4}
    assert {run.request["sweep"] for run in store.runs()} == {"sweep-y"}
