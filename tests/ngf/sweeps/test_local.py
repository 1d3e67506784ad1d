"""What executes a sweep on this machine, and when it is over."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack
from typing import Any

from ngf.config import Choice, PurifySpec, TrainSpec
from ngf.runs.store import Store
from ngf.sweeps.folder import made
from ngf.sweeps.local import Service, follow, sentence, submit_all
from ngf.sweeps.spec import Expansion, Point, SweepSpec
from tests.helpers.run_folders import epoch_events, write_run

SWEEP = SweepSpec({"kind": "train"}, {"seed": (0,)})


def test_how_far_it_is_in_words() -> None:
    assert (
        sentence(Counter(done=12, running=2, queued=26))
        == "12 of 40 runs done, 2 running, 26 queued"
    )
    assert sentence(Counter(done=3)) == "3 of 3 runs done"


def expansion(*seeds: int) -> Expansion:
    trainings = [TrainSpec(seed=seed) for seed in seeds]
    lanes = (Choice("sgd"),)
    return Expansion(
        tuple(
            Point({"seed": one.seed}, (one, PurifySpec(parent=one.id, lanes=lanes)))
            for one in trainings
        ),
        (),
    )


def test_what_is_done_is_not_asked_for_again(tmp_path) -> None:
    store = Store(tmp_path / "runs", tmp_path / "no-zoo")
    found = expansion(0, 1)
    done = write_run(store.root, found.points[0].specs[0], epoch_events(2), done=True)
    before = {path.name: path.stat().st_mtime_ns for path in done.iterdir()}
    submit_all(found, store)
    assert {path.name: path.stat().st_mtime_ns for path in done.iterdir()} == before
    states = Counter(run.status for run in store.runs())
    assert states == {"done": 1, "queued": 3}
    store.get(found.points[1].spec.id).control("pause")
    submit_all(found, store)
    assert Counter(run.status for run in store.runs())["paused"] == 0, "it goes on"


def test_it_is_over_when_nothing_more_happens_by_itself(tmp_path) -> None:
    store = Store(tmp_path / "runs", tmp_path / "no-zoo")
    found = expansion(0)
    submit_all(found, store)
    for point in found.points:
        for spec in point.specs:
            store.get(spec.id).control("cancel")
    said: list[str] = []
    states = follow(made(SWEEP, found), store, said.append)
    assert states == {"cancelled": 2} and said == ["0 of 2 runs done, 2 cancelled"]


def test_a_store_that_is_served_gets_no_second_supervisor_until_it_needs_one(tmp_path) -> None:
    store = Store(tmp_path / "runs", tmp_path / "no-zoo")

    def served(by: Service) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while not store.supervisor() and time.monotonic() < deadline:
            by.ensure()
            time.sleep(0.05)
        return store.supervisor()

    with ExitStack() as first:
        before = served(first.enter_context(Service(store, 1)))
        with Service(store, 1) as second:
            second.ensure()
            assert store.supervisor() == before, "it is served already"
            first.close()
            after = served(second)
            assert after and after != before, "whoever served it has ended"
        assert not store.supervised
