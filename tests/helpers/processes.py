"""Runs in real processes: a pipeline that only counts, supervisors, kills, and waiting for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

from ngf.config import Training, TrainSpec
from ngf.places import ROOT
from ngf.runs.child import ROLE
from ngf.runs.files import Lock
from ngf.runs.folder import LOCK
from ngf.runs.store import Run, Store, TrainRun

PIPELINE = "tests.helpers.counting_pipeline"


def counting(seed: int = 0, steps: int = 100, every: int = 7, data: str = "signs") -> TrainSpec:
    return TrainSpec(data=data, seed=seed, training=Training(epochs=steps, batch_size=every))


def expected(spec: TrainSpec) -> list[float]:
    """The values of an undisturbed run."""
    values, value = [], (spec.seed + 1) / 1000
    for _ in range(spec.training.epochs):
        value = 3.9 * value * (1.0 - value)
        values.append(value)
    return values


def check_whole(run: Run) -> None:
    """The run is done, its events have neither gap nor duplicate, and its numbers are the
    undisturbed ones.
    """
    assert isinstance(run, TrainRun)
    values = expected(run.spec)
    events = run.events()
    assert run.status == "done"
    assert [event["seq"] for event in events] == list(range(len(events)))
    assert all(a["t"] <= b["t"] for a, b in pairwise(events))
    epochs = [event for event in events if event["type"] == "epoch"]
    assert [event["step"] for event in epochs] == list(range(1, len(values) + 1))
    assert [event["loss"] for event in epochs] == values
    assert run.result is not None and run.result["ca"] == values[-1]


def wait(condition: Callable[[], object], what: str, seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"waited in vain: {what}"
        time.sleep(0.005)


def wait_status(run: Run, *statuses: str) -> None:
    wait(
        lambda: run.status in statuses,
        f"{run.id} is {run.status}, not {statuses}; error {run.error}",
    )


def wait_steps(run: Run, count: int) -> None:
    wait(lambda: sum(event["type"] == "epoch" for event in run.events()) >= count, f"{count} steps")


def start_supervisor(store: Store, *options: str) -> subprocess.Popen:
    command = [
        sys.executable,
        "-m",
        "ngf.runs.supervisor",
        "--root",
        str(store.root),
        "--pipeline",
        PIPELINE,
    ]
    return subprocess.Popen([*command, *options], cwd=ROOT, stderr=subprocess.PIPE, text=True)


@contextmanager
def supervised(store: Store, *options: str) -> Iterator[subprocess.Popen]:
    process = start_supervisor(store, *options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=120)


def kill_child(run: Run) -> bool:
    pid = Lock.holder(run.path / LOCK, ROLE)
    if pid is None:
        return False
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
