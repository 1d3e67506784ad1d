"""The process that executes a run: what it says when the run fails, and when it ends itself."""

from __future__ import annotations

import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ngf.config import Choice, MeasureSpec, PurifySpec, Training, TrainSpec
from ngf.places import ROOT
from ngf.runs.folder import LOCK, LOG
from ngf.runs.store import Run, Store
from tests.helpers.processes import (
    PIPELINE,
    check_whole,
    counting,
    supervised,
    wait,
    wait_status,
    wait_steps,
)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kill -9 and signals are those of POSIX")


@pytest.mark.parametrize(
    ("data", "kind", "message", "advice"),
    [
        ("diverges", "diverged", "not a number", "smaller learning rate"),
        ("bad", "bad_input", "size = 99 is out of range.", "Change the setting"),
        ("breaks", "crash", "ZeroDivisionError: division by zero", "log.txt"),
        ("hungry", "out_of_memory", "Out of memory", "smaller batch size"),
        ("full", "disk_full", "disk is full", "Free some space"),
    ],
)
def test_errors_in_the_users_words(
    store: Store, data: str, kind: str, message: str, advice: str
) -> None:
    run = store.submit(counting(data=data))
    child = subprocess.Popen(
        [sys.executable, "-m", "ngf.runs.child", "--pipeline", PIPELINE],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "ready\n"
    child.communicate(json.dumps(str(run.path)) + "\n")
    assert (child.returncode, run.status, run.error["kind"]) == (1, "failed", kind)
    assert (
        message in run.error["message"]
        and advice in run.error["advice"]
        and run.error["step"] is None
    )
    assert "Traceback" in (run.path / LOG).read_text()


def test_a_warm_child_ends_with_its_supervisor(store: Store) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "ngf.runs.child", "--pipeline", PIPELINE],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "ready\n"
    child.communicate("")
    assert child.returncode == 0


def test_a_quick_measurement_is_followed_by_the_next_in_the_same_process(store: Store) -> None:
    train = store.submit(counting(steps=5))
    specs = [
        MeasureSpec(target=train.id, measurement=Choice("fisher_trace"), seed=seed)
        for seed in range(3)
    ]
    with supervised(store, "--heavy", "1", "--light", "1") as supervisor:
        wait_status(train, "done")
        pids = []
        for spec in specs:  # one after the other, as somebody asks who waits for each
            run = store.submit(spec)
            wait_status(run, "done")
            pids.append(json.loads((run.path / LOCK).read_text())["pid"])
            assert run.attempts == 1
        assert len(set(pids)) == 1, "torch is imported once for all three"
        assert json.loads((train.path / LOCK).read_text())["pid"] not in pids
        os.kill(pids[0], signal.SIGKILL)  # while it waits: the next one gets a child of its own
        run = store.submit(MeasureSpec(target=train.id, measurement=Choice("fisher_trace"), seed=9))
        wait_status(run, "done")
        assert run.attempts == 1
        assert json.loads((run.path / LOCK).read_text())["pid"] != pids[0]
        supervisor.terminate()
        supervisor.communicate(timeout=120)
        pid = json.loads((run.path / LOCK).read_text())["pid"]
        wait(
            lambda: not Path(f"/proc/{pid}").exists(), "the waiting child ends with its supervisor"
        )


def process_of(run: Run) -> int:
    """Who holds or held its lock; that is written a moment after it was taken."""
    wait(lambda: (run.path / LOCK).read_text(), "the lock tells who holds it")
    return json.loads((run.path / LOCK).read_text())["pid"]


def test_small_runs_that_wait_are_executed_one_after_another_in_one_process(store: Store) -> None:
    runs = [store.submit(counting(seed, steps=5)) for seed in range(3)]
    with supervised(store):
        for run in runs:
            wait_status(run, "done")
            check_whole(run)
        assert len({process_of(run) for run in runs}) == 1
        wait(
            lambda: not Path(f"/proc/{process_of(runs[0])}").exists(),
            "a training's child does not wait for another one",
        )


def test_a_failed_run_is_the_last_of_its_process(store: Store) -> None:
    failing = store.submit(TrainSpec(data="diverges"))
    after = store.submit(counting(1, steps=5))
    with supervised(store):
        wait_status(failing, "failed")
        wait_status(after, "done")
    assert process_of(failing) != process_of(after)


def test_a_child_at_its_second_run_fills_one_slot_and_not_two(store: Store) -> None:
    short, middle = store.submit(counting(0, steps=20)), store.submit(counting(1, steps=120))
    with supervised(store, "--heavy", "2"):
        wait_status(middle, "running")
        long = store.submit(counting(2, steps=1000))  # the most; it outlasts the others
        wait_status(long, "running")
        assert process_of(long) == process_of(short)
        wait_status(middle, "done")
        beside = store.submit(counting(3, steps=5))
        wait_status(beside, "done")
        assert long.status == "running"
        assert process_of(beside) != process_of(long)


def test_started_again_while_it_is_still_stopping(store: Store) -> None:
    run = store.submit(counting(0, steps=200, every=1000))
    with supervised(store):
        for at in (10, 40, 70):
            wait_steps(run, at)
            run.control("cancel")
            time.sleep(random.Random(at).random() * 0.05)
            store.submit(run.spec)
        wait_status(run, "done")
    check_whole(run)


def test_everything_in_a_finished_run_has_one_mode(store: Store) -> None:
    """Whatever the umask of who asks and who executes: the folders of runs are looked at by other
    users of the machine, or none of them is, by the mode of the store's own folder.
    """
    training = Training(num_images=200, epochs=1, batch_size=64, min_ca=0.0, min_asr=0.0)
    lanes = (Choice("ngf", {"steps": 2, "batch_size": 24, "layer": "fisher"}),)
    before = os.umask(0o077)
    try:
        train = store.submit(TrainSpec(attack=Choice("badnets"), training=training))
        race = store.submit(PurifySpec(parent=train.id, lanes=lanes, num_clean=50))
        for run in (train, race):
            child = subprocess.run(
                [sys.executable, "-m", "ngf.runs.child"],
                cwd=ROOT,
                input=json.dumps(str(run.path)) + "\n",
                text=True,
                stdout=subprocess.DEVNULL,
                check=False,
            )
            assert (child.returncode, run.status) == (0, "done"), run.error
    finally:
        os.umask(before)
    modes = {
        path.relative_to(store.root).as_posix(): stat.filemode(path.stat().st_mode)
        for run in (train, race)
        for path in (run.path, *run.path.rglob("*"))
    }
    assert sum(name.endswith(".safetensors") for name in modes) >= 3  # weights and waypoints
    wrong = {name: mode for name, mode in modes.items() if mode not in ("-rw-r--r--", "drwxr-xr-x")}
    assert not wrong
