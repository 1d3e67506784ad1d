"""Supervisors with real children: real kills, real signals, and runs that go on after them."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ngf.config import Choice, MeasureSpec, PurifySpec
from ngf.places import ROOT
from ngf.runs.child import ROLE
from ngf.runs.files import Lock
from ngf.runs.folder import ATTEMPTS, LOCK, RESULT, STATE
from ngf.runs.kills import MAX_KILLS
from ngf.runs.store import Store
from ngf.runs.supervisor import ALREADY_RUNNING, NO_STORE, Supervisor
from tests.helpers import counting_pipeline
from tests.helpers.processes import (
    check_whole,
    counting,
    kill_child,
    start_supervisor,
    supervised,
    wait,
    wait_status,
    wait_steps,
)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kill -9 and signals are those of POSIX")


@pytest.mark.parametrize("seed", range(4))
def test_kill_minus_nine_of_the_child(store: Store, seed: int) -> None:
    rng = random.Random(seed)
    run = store.submit(counting(seed))
    with supervised(store):
        kills = 0
        for at in sorted(rng.sample(range(10, 90, 10), 3)):
            wait_steps(run, at)
            time.sleep(rng.random() * 0.02)
            kills += kill_child(run)
        wait_status(run, "done", "failed")
    check_whole(run)
    assert kills and 1 < run.attempts <= kills + 1
    assert 1 <= sum(event["type"] == "resumed" for event in run.events()) <= kills


@pytest.mark.parametrize("seed", range(3))
def test_kill_minus_nine_of_the_supervisor(store: Store, seed: int) -> None:
    rng = random.Random(seed)
    run, behind = (
        store.submit(counting(seed, steps=150)),
        store.submit(counting(seed + 100, steps=10)),
    )
    first = start_supervisor(store)
    wait_steps(run, rng.randrange(1, 60))
    first.kill()
    first.communicate()
    with_child = seed != 0 and kill_child(run)
    if with_child:
        wait_status(run, "lost", "done")
    else:
        assert run.status in ("running", "done")  # it goes on without its supervisor
    with supervised(store):
        wait(lambda: store.supervised, "the next supervisor")
        wait_status(behind, "running", "done")
        assert run.status == "done"  # a run without its supervisor still fills the slot
        wait_status(behind, "done")
    check_whole(run)
    check_whole(behind)
    assert run.attempts <= (2 if with_child else 1)


def test_pause_frees_the_slot_and_resume_goes_on(store: Store) -> None:
    run = store.submit(counting(0, steps=200, every=50))
    with supervised(store):
        wait_steps(run, 20)
        run.control("pause")
        wait_status(run, "paused")
        at = len(run.events())
        other = store.submit(counting(1, steps=5))
        wait_status(other, "done")
        assert run.status == "paused" and len(run.events()) == at and run.result is None
        run.control("resume")
        wait_status(run, "done")
    check_whole(run)
    resumed = [event for event in run.events() if event["type"] == "resumed"]
    assert len(resumed) == 1 and resumed[0]["step"] >= 20 and run.attempts == 2


def test_a_second_supervisor_is_refused(store: Store) -> None:
    with supervised(store):
        wait(lambda: store.supervised, "the supervisor")
        second = subprocess.run(
            [sys.executable, "-m", "ngf.runs.supervisor", "--root", str(store.root)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == ALREADY_RUNNING and "already" in second.stderr
    assert not store.supervised


def test_a_run_that_another_machine_executes_fills_no_slot(store: Store) -> None:
    away, here = store.submit(counting(0)), store.submit(counting(1, steps=5))
    lock = Lock(away.path / LOCK)
    assert lock.acquire(role="child", about={"host": "another-machine"})
    with supervised(store):
        wait_status(here, "done")
        assert away.status == "running"
    lock.release()


def test_killed_three_times_without_progress_has_failed(store: Store) -> None:
    run, behind = store.submit(counting(data="suicide")), store.submit(counting(1, steps=5))
    with supervised(store):
        wait_status(run, "failed")
        wait_status(behind, "done")
    error = run.error
    assert (error["kind"], run.attempts) == ("killed", MAX_KILLS)
    assert "3 times" in error["message"] and "memory" in error["advice"]
    assert "about to be killed" in error["log"]
    again = store.submit(run.spec)
    assert again.status == "queued" and again.error is None


def test_whatever_repeats_itself_is_no_progress(store: Store) -> None:
    trained = store.submit(counting(0, steps=3))
    measured = MeasureSpec(
        target=trained.id, measurement=Choice("fisher_trace"), seed=counting_pipeline.DEADLY
    )
    runs = [store.submit(counting(1, data="stuck")), store.submit(measured)]
    with supervised(store):
        for run in runs:
            wait_status(run, "failed")
    for run in runs:
        assert (run.error["kind"], run.attempts) == ("killed", MAX_KILLS)


def test_a_store_that_is_replaced_gets_its_supervisor_back(store: Store, tmp_path: Path) -> None:
    lost = store.submit(counting(0, steps=1000))
    with supervised(store) as process:
        wait_steps(lost, 3)
        store.root.rename(tmp_path / "moved")
        store.root.mkdir()
        run = store.submit(counting(1, steps=3))
        wait_status(run, "done")
        assert store.supervised and process.poll() is None
        moved = Store(tmp_path / "moved", store.zoo)
        wait(lambda: moved.get(lost.id).status == "lost", "the moved run to be let go")
        assert not moved.supervised
        # taken away in one go: what is still written there is not in the way of deleting it
        shutil.rmtree(store.root.rename(tmp_path / "gone"))
        time.sleep(0.1)
        assert not store.root.exists()  # not made anew without need
        again = store.submit(counting(2, steps=3))
        wait_status(again, "done")


def test_two_supervisors_never_serve_one_store(store: Store, tmp_path: Path) -> None:
    with supervised(store) as first:
        wait(lambda: store.supervised, "the supervisor")
        (store.root / ".supervisor.lock").unlink()  # its lock keeps nobody out any more
        with supervised(store) as second:
            wait(
                lambda: (first.poll() is None) != (second.poll() is None), "one of them to give way"
            )
            run = store.submit(counting(1, steps=3))
            wait_status(run, "done")
            assert store.supervised and run.attempts == 1


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    for place in ("file/runs", "loop", "/proc/runs"):
        ended = subprocess.run(
            [sys.executable, "-m", "ngf.runs.supervisor", "--root", str(tmp_path / place)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == NO_STORE, ended.stderr
        assert "Runs cannot be kept in" in ended.stderr and len(ended.stderr.splitlines()) == 1


def test_a_path_with_a_line_break(tmp_path: Path) -> None:
    store = Store(tmp_path / "two\nlines", tmp_path / "zoo")
    run = store.submit(counting(1, steps=3))
    with supervised(store):
        wait_status(run, "done")
    check_whole(run)


def test_terminated_supervisor_leaves_a_checkpoint_behind(store: Store) -> None:
    run = store.submit(counting(0, steps=200, every=1000))
    with supervised(store) as first:
        wait_steps(run, 20)
        first.terminate()
        first.communicate(timeout=120)
    assert first.returncode == 0 and run.status == "lost" and (run.path / STATE).is_dir()
    with supervised(store):
        wait_status(run, "done")
    check_whole(run)
    assert run.attempts == 2


def test_supervisor_also_ends_the_children_of_one_that_was_killed(store: Store) -> None:
    run = store.submit(counting(0, steps=1000))
    first = start_supervisor(store)
    wait_steps(run, 3)
    first.kill()
    first.communicate()
    with supervised(store):
        wait(lambda: store.supervised, "the next supervisor")
        assert run.status == "running"
    assert run.status == "lost" and Lock.holder(run.path / LOCK, ROLE) is None


def test_a_run_waits_for_the_one_it_starts_from_and_owners_take_turns(store: Store) -> None:
    train = store.submit(counting(0, steps=60), "ada")
    purify = store.submit(PurifySpec(parent=train.id, lanes=(Choice("ngf"),)), "bob")
    more = [store.submit(counting(seed, steps=3), "ada") for seed in (1, 2)]
    measure = store.submit(MeasureSpec(target=train.id, measurement=Choice("fisher_trace")), "eve")
    with supervised(store, "--heavy", "1", "--light", "1"):
        for run in (train, purify, measure, *more):
            wait_status(run, "done")
    started = {
        run.id: (run.path / ATTEMPTS).stat().st_mtime_ns for run in (train, purify, measure, *more)
    }
    finished = (train.path / RESULT).stat().st_mtime_ns
    assert started[purify.id] > finished and started[measure.id] > finished
    assert started[train.id] < started[purify.id] < started[more[0].id] < started[more[1].id]
    assert all(run.attempts == 1 for run in store.runs())


def test_child_that_cannot_start_is_an_error_of_the_run(store: Store) -> None:
    run = store.submit(counting())
    supervisor = Supervisor(store)
    for code in (-11, -11, -11):
        assert run.status == "queued"
        supervisor._count_refusal(run, code)
    assert run.status == "failed" and "could not start (-11)" in run.error["message"]
