"""What executes a sweep on this machine, and when it is over."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack
from typing import Any

from ngf.config import Choice, PurifySpec, TrainSpec
from ngf.runs.store import Store
from ngf.sweeps.control import submit_all
from ngf.sweeps.folder import made
from ngf.sweeps.local import Service, follow, sentence
from ngf.sweeps.spec import Expansion, Point, SweepSpec

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


def test_it_is_over_when_nothing_more_happens_by_itself(tmp_path) -> None:
    store = Store(tmp_path / "runs", tmp_path / "no-zoo")
    found = expansion(0)
    submit_all(found.specs(), store, "sweep-x")
    for point in found.points:
        for spec in point.specs:
            store.get(spec.id).control("cancel")
    said: list[str] = []
    states = follow(made(SWEEP, found), store, said.append)
    assert states == {"cancelled": 2} and said == ["0 of 2 runs done, 2 cancelled"]


def test_a_store_that_is_served_gets_no_second_supervisor_until_it_needs_one(tmp_path) -> None:
    store = Store(tmp_path / "runs", tmp_path / "no-zoo")

    def served(by: Service) -> dict[str, Any]:
        deadline = time.monotonic() + 120
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
