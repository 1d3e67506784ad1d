"""A training in two processes, as people start it, and what may befall it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ngf.config import Choice, Training, TrainSpec
from ngf.options import SpecError
from ngf.places import ROOT
from ngf.runs.child import execute
from ngf.runs.folder import EVENTS, LOG, STATE, WEIGHTS
from ngf.runs.store import Run, Store
from ngf.training.several import check_devices, failure
from tests.helpers.processes import wait, wait_steps

pytestmark = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads /proc")
PROCESSES = 2
TRAINING = Training(
    num_images=120, epochs=10, batch_size=31, processes=PROCESSES, min_ca=0.0, min_asr=0.0
)
SPEC = TrainSpec(attack=Choice("badnets"), training=TRAINING, seed=1)


def ranks(run: Run) -> dict[int, int]:
    """Numbers of the processes that train a run now, by rank."""
    found = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            if b"ngf.training.rank" in words and os.fsencode(run.path) in words:
                around = (entry / "environ").read_bytes().split(b"\0")
                found |= {int(word[5:]): int(entry.name) for word in around if word[:5] == b"RANK="}
    return found


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.path / WEIGHTS)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Run:
    """The run by the command that a person types."""
    store = Store(tmp_path_factory.mktemp("undisturbed"))
    settings = [f"training.{key}={value}" for key, value in TRAINING.to_json().items()]
    words = ["train", "--attack", "badnets", "--seed", "1", "--json", "--set", *settings]
    done = subprocess.run(
        [sys.executable, "-m", "ngf", *words],
        cwd=ROOT,
        env={**os.environ, "NGF_RUNS": str(store.root), "NGF_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["id"] == SPEC.id
    return store.get(SPEC.id)


def test_one_process_writes_a_run_like_any_other(undisturbed, one_thread, tmp_path):
    events = undisturbed.events()
    assert [event["seq"] for event in events] == list(range(len(events)))
    epochs = [event for event in events if event["type"] == "epoch"]
    assert [event["step"] for event in epochs] == list(range(1, 11))
    assert undisturbed.result["num_poisoned"] == 12 and undisturbed.result["n_clean"] == 2400
    assert (undisturbed.path / LOG).read_text() == "", "nothing went wrong"
    single = Store(tmp_path).submit(
        TrainSpec(
            attack=SPEC.attack,
            seed=1,
            training=Training(**{**TRAINING.__dict__, "processes": 1}),
        )
    )
    assert execute(single) == "done"
    first = next(event for event in single.events() if event["type"] == "epoch")
    assert epochs[0]["loss"] == pytest.approx(first["loss"], abs=0.01), "the same in other sums"


def attempt(run: Run, meanwhile: Callable[[], None]) -> str:
    """Execute a run, and do something to it meanwhile."""
    helper = threading.Thread(target=meanwhile)
    helper.start()
    try:
        return execute(run)
    finally:
        helper.join()
        wait(lambda: not ranks(run), "all processes have ended")


def in_a_child(run: Run) -> subprocess.Popen:
    """A process that executes a run for a supervisor."""
    child = subprocess.Popen(
        [sys.executable, "-m", "ngf.runs.child"],
        cwd=ROOT,
        env={**os.environ, "NGF_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    child.stdin.write(f"{json.dumps(str(run.path))}\n".encode())
    child.stdin.close()
    return child


def test_a_run_that_is_disturbed_again_and_again_ends_like_an_undisturbed_one(
    undisturbed, one_thread, store
):
    run = store.submit(SPEC)

    def kill_the_second() -> None:
        wait(lambda: len(ranks(run)) == PROCESSES, "both have begun")
        second = ranks(run)[1]
        wait_steps(run, 1)
        os.kill(second, signal.SIGKILL)

    assert attempt(run, kill_the_second) == "failed"
    assert run.error["kind"] == "killed"
    assert run.error["message"] == (
        "Process 2 of 2 (rank 1) was ended by signal 9 (SIGKILL), and the others with it."
    )
    assert "goes on from its last checkpoint" in run.error["advice"]

    store.submit(SPEC)
    child = in_a_child(run)
    wait_steps(run, 4)
    child.kill()  # the kernel takes its lock; nobody else may write from here on
    child.wait()
    wait(lambda: not ranks(run), "all processes end with the one that holds the lock")
    assert run.status == "lost"

    def pause() -> None:
        wait_steps(run, 7)
        run.control("pause")

    assert attempt(run, pause) == "paused"
    run.control("resume")
    assert execute(run) == "done", run.error
    assert [event["loss"] for event in run.events() if event["type"] == "epoch"] == [
        event["loss"] for event in undisturbed.events() if event["type"] == "epoch"
    ]
    mine, other = weights(run), weights(undisturbed)
    assert all(torch.equal(mine[key], other[key]) for key in other)
    assert '"resumed"' in (run.path / EVENTS).read_text()


@pytest.mark.slow
def test_the_end_of_a_supervisor_reaches_all_processes(store):
    run = store.submit(SPEC)
    child = in_a_child(run)
    wait_steps(run, 1)
    child.terminate()
    assert child.wait() == 0 and not ranks(run)
    assert run.status == "lost" and list((run.path / STATE).iterdir())


@pytest.mark.parametrize(
    ("kind", "gpus", "message"),
    [
        ("cuda", 1, "needs as many GPUs, and there is 1. Allowed: 1 or fewer"),
        ("cuda", 3, "and there are 3"),
        ("mps", 0, "not on mps"),
    ],
)
def test_fewer_devices_than_processes_are_refused(kind, gpus, message):
    with pytest.raises(SpecError, match=message):
        check_devices(4, kind, gpus)
    check_devices(4, "cpu", 0)
    check_devices(4, "cuda", 4)


def end(rank: int, code: int, time: float, kind: str = "", message: str = "") -> dict:
    error = {"kind": kind, "message": message, "advice": "Do."} if kind else None
    return {"rank": rank, "code": code, "time": time, "error": error}


LOST = "RuntimeError: Connection closed by peer"


@pytest.mark.parametrize(
    ("ends", "code", "kind", "message"),
    [
        # its end is noticed after the others have said that they cannot reach it
        ([end(0, 1, 5.2, "crash", LOST), end(1, -9, 6)], 1, "killed", "Process 2 of 2.*SIGKILL"),
        ([end(1, 1, 5.0, "data", "Bad."), end(0, 1, 5.1, "crash", LOST)], 1, "data", "^Bad.$"),
        ([end(1, 1, 5.1, "crash", "KeyError: 1")], 1, "crash", r"Process 2 of 2 \(rank 1\): KeyE"),
        # it did not see that the other one had gone, and was killed in the end
        ([end(1, 1, 5.0, "disk_full", "Full."), end(0, -9, 36)], 1, "disk_full", "Full"),
        ([end(0, -15, 4), end(1, 1, 5.0, "data", "Bad.")], 1, "data", "Bad"),
        ([end(1, 3, 5)], 1, "crash", "ended with exit code 3"),
        ([], -9, "killed", r"torchrun.*was ended by signal 9 \(SIGKILL\)"),
        ([], 2, "crash", "torchrun.*ended with exit code 2"),
    ],
)
def test_the_first_cause_is_told(ends, code, kind, message):
    found = failure(ends, code, 2)
    assert found.kind == kind
    with pytest.raises(type(found), match=message):
        raise found
