"""Sweeps on real Dask workers in processes of their own: real kills, and runs that go on."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack

import pytest

from ngf.config import Choice, PurifySpec, TrainSpec
from ngf.options import SpecError
from ngf.places import ROOT
from ngf.runs.folder import RESULT, STATE
from ngf.runs.kills import MAX_KILLS
from ngf.runs.store import Store
from ngf.sweeps.cluster import service
from tests.helpers.cluster import Machines, executed, machines, steps, sweep_of, worker
from tests.helpers.processes import check_whole, counting, wait

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kill -9 and pipes are those of POSIX")
KILL_EVERY = 4.0  # seconds
PLACES = pytest.mark.parametrize("place", ["shared", "away"], indirect=True)


def purified(training: TrainSpec) -> PurifySpec:
    return PurifySpec(parent=training.id, lanes=(Choice("sgd"),))


@PLACES
def test_every_run_once_and_after_what_it_starts_from(store: Store, place: Machines) -> None:
    trainings = [counting(seed, steps=20) for seed in range(3)]
    sweep = sweep_of(store, [*trainings, *map(purified, trainings)])
    begun: dict[str, str] = {}

    def look(states: Mapping[str, str]) -> None:
        for one in trainings:
            if states[purified(one).id] in ("running", "done"):
                begun.setdefault(one.id, states[one.id])

    assert executed(sweep, store, place.address, each=look) == {"done": 6}
    assert set(begun.values()) <= {"done"}
    for one in trainings:
        check_whole(store.get(one.id))
        assert store.get(one.id).attempts == store.get(purified(one).id).attempts == 1
    assert not list(store.root.glob("*/.*")) and not list(store.root.glob(".sweeps/*.token"))


@PLACES
def test_two_sweeps_that_share_runs(store: Store, place: Machines) -> None:
    sweep = sweep_of(store, [counting(seed, steps=60) for seed in range(5)])
    other = threading.Thread(target=executed, args=(sweep, store, place.address))
    other.start()
    assert executed(sweep, store, place.address) == {"done": 5}
    other.join()
    for run in store.runs():
        check_whole(run)
        assert run.attempts == 1


@pytest.mark.parametrize(
    ("place", "command"), [("shared", "pause"), ("away", "cancel")], indirect=["place"]
)
def test_a_run_is_stopped_through_its_control_file(
    store: Store, place: Machines, command: str
) -> None:
    spec = counting(steps=600)
    sweep = sweep_of(store, [spec])

    def stop(states: Mapping[str, str]) -> None:
        if steps(store, spec) > 5:
            store.get(spec.id).control(command)

    ended = {"pause": "paused", "cancel": "cancelled"}[command]
    assert executed(sweep, store, place.address, each=stop) == {ended: 1}
    run = store.get(spec.id)
    assert (run.path / STATE).is_dir() and not (run.path / RESULT).exists()
    store.submit(spec)
    run.control("resume")
    assert executed(sweep, store, place.address) == {"done": 1}
    check_whole(run)
    assert [event["step"] > 5 for event in run.events() if event["type"] == "resumed"] == [True]


@PLACES
def test_ctrl_c_saves_checkpoints_and_the_next_start_goes_on(store: Store, place: Machines) -> None:
    specs = [counting(seed, steps=450, every=1000) for seed in range(3)]
    sweep = sweep_of(store, specs)

    def interrupt(states: Mapping[str, str]) -> None:
        if all(steps(store, spec) > 5 for spec in specs[:2]):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        executed(sweep, store, place.address, each=interrupt)
    assert [store.get(spec.id).status for spec in specs] == ["lost", "lost", "queued"]
    assert all((store.get(spec.id).path / STATE).is_dir() for spec in specs[:2])
    assert executed(sweep, store, place.address) == {"done": 3}
    for spec in specs:
        check_whole(store.get(spec.id))


@PLACES
def test_killed_three_times_without_progress_has_failed(store: Store, place: Machines) -> None:
    spec = counting(data="suicide")
    assert executed(sweep_of(store, [spec]), store, place.address) == {"failed": 1}
    run = store.get(spec.id)
    assert run.error is not None and run.error["kind"] == "killed" and run.attempts == MAX_KILLS
    assert "about to be killed" in run.error["log"]


def test_a_worker_that_is_killed_is_replaced(store: Store) -> None:
    specs = [counting(seed, steps=300) for seed in range(2)]
    sweep = sweep_of(store, specs)
    with machines(n_workers=1) as one:
        kills: list[int] = []

        def kill(states: Mapping[str, str]) -> None:
            if not kills and steps(store, specs[0]) > 20:
                kills.append(steps(store, specs[0]))
                one.kill_worker(of=1)

        assert executed(sweep, store, one.address, each=kill) == {"done": 2}
    for spec in specs:
        check_whole(store.get(spec.id))
    assert kills and store.get(specs[0].id).attempts == 2


def test_a_worker_that_is_asked_to_end_saves_a_checkpoint_first(store: Store) -> None:
    """As Slurm asks before a job is over."""
    spec = counting(steps=400, every=1000)
    sweep = sweep_of(store, [spec])
    with machines(n_workers=0) as found, worker(found.address) as first:
        found.wait_for(1)
        with ExitStack() as stack:

            def end(states: Mapping[str, str]) -> None:
                if steps(store, spec) > 20 and first.poll() is None:
                    first.terminate()
                    first.wait()
                    stack.enter_context(worker(found.address))

            assert executed(sweep, store, found.address, each=end) == {"done": 1}
    run = store.get(spec.id)
    check_whole(run)
    assert [event["step"] > 20 for event in run.events() if event["type"] == "resumed"] == [True]


def test_a_scheduler_that_dies_loses_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "ANSWER", 1.0)
    specs = [counting(seed, steps=300) for seed in range(3)]
    sweep = sweep_of(store, specs)
    with machines(n_workers=2) as first:

        def kill(states: Mapping[str, str]) -> None:
            if steps(store, specs[0]) > 20:
                first.kill()

        with pytest.raises(ConnectionError, match="has gone; what is done stays"):
            executed(sweep, store, first.address, each=kill)
    runs = [store.get(spec.id) for spec in specs]
    wait(lambda: "running" not in {run.status for run in runs}, "children end with their workers")
    assert runs[0].status == "lost" and (runs[0].path / STATE).is_dir()
    with machines(n_workers=2) as second:
        assert executed(sweep, store, second.address) == {"done": 3}
    for run in runs:
        check_whole(run)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://here", "no such file"])
def test_a_scheduler_that_does_not_answer(
    store: Store, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "ANSWER", 0.5)
    with pytest.raises(SpecError, match="does not answer .*Check the address"):
        executed(sweep_of(store, []), store, address)


def test_without_dask_there_is_a_way_out() -> None:
    code = (
        "import sys; sys.modules['distributed'] = None\n"
        "from ngf.sweeps.cluster.service import connect; connect('tcp://127.0.0.1:9')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "pip install 'ngf-dashboard[cluster]'" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_forty_runs_survive_workers_and_a_scheduler_that_are_killed(store: Store) -> None:
    specs = [counting(seed, steps=300) for seed in range(40)]
    sweep = sweep_of(store, specs)
    ended: dict[str, int] = {}
    kills, last = [0, 0], time.monotonic()  # of workers, of the scheduler

    def disturb(states: Mapping[str, str]) -> None:
        nonlocal last
        for run_id, status in states.items():
            if status == "done":
                ended.setdefault(run_id, (store.root / run_id / RESULT).stat().st_mtime_ns)
        if len(ended) >= 15 and not kills[1]:
            kills[1] += 1
            found.kill()
        elif time.monotonic() - last > KILL_EVERY:
            last = time.monotonic()
            kills[0] += found.kill_worker(of=3)

    with machines(n_workers=3) as found, pytest.raises(ConnectionError):
        executed(sweep, store, found.address, each=disturb)
    with machines(n_workers=3) as found:
        assert executed(sweep, store, found.address, each=disturb) == {"done": 40}
    assert kills[0] >= 3 and kills[1] == 1
    for spec in specs:
        run = store.get(spec.id)
        check_whole(run)
        assert ended.get(run.id, 0) in (0, (run.path / RESULT).stat().st_mtime_ns), "twice"
    assert any(run.attempts > 1 for run in store.runs()), "some were killed"
