"""Runs whose workers do not see the store: what goes wrong there is told here."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest

from ngf.runs.store import Store
from tests.helpers.cluster import BLIND, Machines, executed, machines, steps, sweep_of
from tests.helpers.processes import check_whole, counting

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kill -9 and pipes are those of POSIX")


def test_a_full_disk_of_a_worker_ends_the_run_and_the_worker_gets_no_more(
    store: Store, two_blind: Machines
) -> None:
    specs = [counting(data="full"), *(counting(seed, steps=100) for seed in range(4))]
    said: list[str] = []
    found = executed(sweep_of(store, specs), store, two_blind.address, said.append)
    assert found == {"done": 4, "failed": 1}
    error = store.get(specs[0].id).error
    assert error is not None and error["kind"] == "disk_full"
    assert error["message"].startswith("On worker ") and "disk is full" in error["message"]
    assert sum("is refused: its disk is full" in text for text in said) == 1


def test_a_run_whose_worker_was_killed_begins_again_elsewhere(store: Store) -> None:
    specs = [counting(seed, steps=300) for seed in range(2)]
    sweep = sweep_of(store, specs)
    with machines(n_workers=1, **BLIND) as one:
        kills: list[int] = []

        def kill(states: Mapping[str, str]) -> None:
            if not kills and steps(store, specs[0]) > 20:
                kills.append(steps(store, specs[0]))
                one.kill_worker(of=1)

        assert executed(sweep, store, one.address, each=kill) == {"done": 2}
    for spec in specs:
        check_whole(store.get(spec.id))
    assert kills and store.get(specs[0].id).attempts == 1, "nothing came back of the first"
