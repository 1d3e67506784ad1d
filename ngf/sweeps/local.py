"""Executes a sweep on this machine: what was put into the queue of the store is executed run by run
by whoever serves it, a dashboard or a supervisor that is started here. Killed at any moment, it
goes on where it was when it is asked for again.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol, Self

from ngf.places import child_environment
from ngf.runs.folder import FINAL
from ngf.runs.lifeline import Lifeline
from ngf.runs.slots import usable_cores
from ngf.runs.store import Store
from ngf.sweeps.folder import STATES, Sweep

EVERY = 0.5  # seconds between two looks at the runs
OVER = {*FINAL, "paused", "missing"}  # nothing more happens by itself


def follow(
    sweep: Sweep, store: Store, say: Callable[[str], None], service: Executing | None = None
) -> Counter[str]:
    """Wait until nothing more happens, and say how far it is whenever that changes.

    service: what has to go on until then.
    """
    said = ""
    while True:
        began = time.monotonic()
        known = sweep.seen(store).statuses()
        states = Counter(known.values())
        if (words := sentence(states)) != said:
            say(words)
            said = words
        if set(states) <= OVER:
            return states
        if service is not None:
            service.ensure(known)
        # a look at 100,000 runs takes seconds: not more than half of a core
        time.sleep(max(EVERY, time.monotonic() - began))


def sentence(states: Counter[str]) -> str:
    """`12 of 40 runs done, 2 running, 26 queued`"""
    total = sum(states.values())
    rest = "".join(f", {states[name]} {name}" for name in STATES[1:] if states[name])
    return f"{states['done']} of {total} runs done{rest}"


class Executing(Protocol):
    """What executes runs while `follow` looks at them."""

    def ensure(self, states: Mapping[str, str]) -> None:
        """See that it goes on. states: of all runs of the sweep by name, as their folders tell."""


class Service:
    """Has the queue of a store executed: by a dashboard or another sweep that serves it, else by a
    supervisor of its own, which ends with the `with` block.

    jobs: runs at a time; they share the cores. The default is one for each core: small networks
        gain more from that than from more threads each.
    """

    def __init__(self, store: Store, jobs: int | None = None) -> None:
        self._store, self._jobs = store, str(jobs or usable_cores())
        self._lifeline = Lifeline()  # kill -9 of this process ends the supervisor and its children
        self._own: subprocess.Popen[bytes] | None = None

    def ensure(self, states: Mapping[str, str] = MappingProxyType({})) -> None:
        """Called again and again: whoever has served the store may have ended meanwhile."""
        if self._own is not None and self._own.poll() is None:
            return
        if self._store.supervised:
            return
        self._store.root.mkdir(parents=True, exist_ok=True)
        self._own = subprocess.Popen(
            [sys.executable, "-m", "ngf.runs.supervisor", "--root", str(self._store.root)]
            + ["--heavy", self._jobs, "--light", self._jobs],
            env=child_environment(**self._lifeline.environment),
            pass_fds=self._lifeline.passed,
            start_new_session=True,  # Ctrl-C here ends it in order, below
        )

    def __enter__(self) -> Self:
        self.ensure()
        return self

    def __exit__(self, *_: object) -> None:
        if self._own is not None:
            self._own.terminate()
            self._own.wait()
