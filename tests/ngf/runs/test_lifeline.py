"""Whoever was started ends with who started it, however that one ends."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ngf.places import ROOT
from ngf.runs.lifeline import Lifeline, passed_on, when_cut
from tests.helpers.processes import wait

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes are passed on by POSIX")

# A process that starts a process that starts a process; the last two end with the first.
_GRANDCHILD = """
import os, time
from ngf.runs.lifeline import when_cut
assert when_cut(lambda: os._exit(0))
print(os.getpid(), flush=True)
time.sleep(600)
"""
_CHILD = f"""
import os, subprocess, sys, time
from ngf.runs.lifeline import passed_on, when_cut
assert when_cut(lambda: os._exit(0))
subprocess.Popen([sys.executable, "-c", {_GRANDCHILD!r}], pass_fds=passed_on(),
                 start_new_session=True)
print(os.getpid(), flush=True)
time.sleep(600)
"""
_FIRST = f"""
import os, subprocess, sys, time
from ngf.runs.lifeline import Lifeline
lifeline = Lifeline()
subprocess.Popen([sys.executable, "-c", {_CHILD!r}], pass_fds=lifeline.passed,
                 env={{**os.environ, **lifeline.environment}}, start_new_session=True)
time.sleep(600)
"""


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"  # a dead one nobody waited for
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
def test_kill_minus_nine_of_the_first_ends_all() -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", _FIRST], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    pids = [int(first.stdout.readline()) for _ in range(2)]
    assert all(map(alive, pids))
    first.kill()
    first.wait()
    first.stdout.close()
    wait(lambda: not any(map(alive, pids)), f"{pids} end with the first")


def test_without_a_lifeline_nothing_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NGF_LIFELINE", raising=False)
    assert not when_cut(lambda: None) and passed_on() == ()
    monkeypatch.setenv("NGF_LIFELINE", "9999")  # inherited, but the pipe was not passed on
    assert not when_cut(lambda: None)
    lifeline = Lifeline()
    monkeypatch.setenv(*next(iter(lifeline.environment.items())))
    assert passed_on() == lifeline.passed
    for end in (lifeline._reading, lifeline._writing):
        os.close(end)
