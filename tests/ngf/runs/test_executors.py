"""Processes that wait for runs, and those that stay for more than one."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ngf.runs.executors import STAY, Command, Handle, Local
from ngf.runs.folder import LOCK
from ngf.runs.lifeline import Lifeline
from ngf.runs.store import Run, Store
from tests.helpers.processes import PIPELINE, check_whole, counting, wait, wait_steps

pytestmark = pytest.mark.skipif(os.name != "posix", reason="lifelines are those of POSIX")
COMMAND: Command = (sys.executable, "-m", "ngf.runs.child", "--pipeline", PIPELINE, STAY)


@pytest.fixture
def local() -> Iterator[Local]:
    found = Local({COMMAND: {"NGF_THREADS": "1"}}, Lifeline())
    yield found
    found.close()


def executed(local: Local, run: Run) -> Handle:
    turn = local(COMMAND, run.path)
    wait(lambda: turn.poll() is not None, "the end of the run")
    local.take_back(COMMAND, turn)
    return turn


def process_of(run: Run) -> int:
    found: int = json.loads((run.path / LOCK).read_text())["pid"]
    return found


def test_a_child_stays_for_the_next_run_unless_it_failed(store: Store, local: Local) -> None:
    runs = [store.submit(counting(seed, steps=5)) for seed in range(4)]
    failing = store.submit(counting(data="diverges"))
    assert [executed(local, run).poll() for run in (*runs[:2], failing, *runs[2:])] == [
        0,
        0,
        1,
        0,
        0,
    ]
    for run in runs:
        check_whole(run)
    first, second = process_of(runs[0]), process_of(runs[2])
    assert [process_of(run) for run in runs] == [first, first, second, second] and first != second
    assert process_of(failing) == first
    local.close()
    wait(lambda: not Path(f"/proc/{second}").exists(), "what waits ends when nothing comes")


def test_a_child_that_died_while_it_waited_is_replaced(store: Store, local: Local) -> None:
    runs = [store.submit(counting(seed, steps=5)) for seed in range(2)]
    executed(local, runs[0])
    os.kill(process_of(runs[0]), 9)
    time.sleep(0.1)
    executed(local, runs[1])
    check_whole(runs[1])
    assert process_of(runs[1]) != process_of(runs[0])


def test_what_was_asked_to_end_does_not_wait_for_more(store: Store, local: Local) -> None:
    run = store.submit(counting(steps=500, every=1000))
    turn = local(COMMAND, run.path)
    wait_steps(run, 5)
    turn.terminate()
    wait(lambda: turn.poll() is not None, "its end")
    assert run.status == "lost" and not Path(f"/proc/{turn.pid}").exists()


def test_a_child_keeps_the_memory_that_its_steps_ask_for_again(
    local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")  # as a nanny of Dask sets it
    monkeypatch.setattr(local, "_first", 0.0)  # no page comes first here
    local.keep_warm(COMMAND)
    (spare,) = local._spares[COMMAND]
    told = Path(f"/proc/{spare.pid}/environ")
    wait(lambda: b"NGF_THREADS" in told.read_bytes(), "the environment of the child")
    found = dict(line.split(b"=", 1) for line in told.read_bytes().split(b"\0") if line)
    assert int(found[b"MALLOC_TRIM_THRESHOLD_"]) >= 2**27
