"""Where a run is executed. An executor is a function `(command, run path) -> handle`.

`Local` starts processes on this machine and keeps a warm one for each command: for a supervisor, or
for a worker of a cluster. Everything else (progress, pause, cancel, resume) goes through the files
of the run folder.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from ngf.places import child_environment
from ngf.runs.child import OVER
from ngf.runs.lifeline import Lifeline, passed_on

# Importing torch takes a core for two seconds: not in the first moments of the run that was just
# started.
SPARE_DELAY = 2.0
FIRST_SPARE_DELAY = 5.0  # when the dashboard starts, its first page comes first
STAY = "--stay"  # among the words of a command: its child may execute several runs, see `Turn`


class Handle(Protocol):
    """A process that executes a run; `poll` is None while it lives. `subprocess.Popen` is one."""

    pid: int

    def poll(self) -> int | None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


Command = tuple[str, ...]
Executor = Callable[[Command, Path], Handle]

# What glibc may keep of the memory that a step of a run has freed. By itself it gives all of it
# back, and asks for the same pages again in the next step; under a nanny of Dask, whose workers
# hand that on to the children, even more readily (MALLOC_TRIM_THRESHOLD_ is 65,536 there).
_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**28), "MALLOC_MMAP_THRESHOLD_": str(2**25)}


class Local:
    """Executes runs in processes of this machine, each in a child that was started (never
    forked) before.

    lifeline: what the children end with; the default is what this process ends with itself.
    """

    def __init__(
        self,
        environment: Mapping[Command, Mapping[str, str]] | None = None,
        lifeline: Lifeline | None = None,
    ):
        self._environment, self._lifeline = environment or {}, lifeline
        self._spares: dict[Command, list[subprocess.Popen[bytes]]] = {}
        self._not_before: dict[Command, float] = {}
        self._first = time.monotonic() + FIRST_SPARE_DELAY

    def __call__(self, command: Command, path: Path) -> Handle:
        """Hand the run folder `path` to a warm child of `command`, or to a fresh one. With `--stay`
        among its words it is a `Turn` of that child.

        Raises OSError when no process can be started.
        """
        spares = self._spares.setdefault(command, [])
        self._not_before[command] = time.monotonic() + SPARE_DELAY
        while True:
            child, fresh = (spares.pop(), False) if spares else (self._start(command), True)
            try:
                _hand(child, path, STAY in command)
                return Turn(child) if STAY in command else child
            except OSError:  # it died while it was waiting: another one takes its place
                _close(child)
                child.wait()
                if fresh:
                    raise

    def take_back(self, command: Command, turn: Handle) -> None:
        """Have the child of a turn that is over wait for the next one."""
        if isinstance(turn, Turn) and turn.over:
            self._spares[command].append(turn.child)

    def keep_warm(self, command: Command) -> None:
        """Have a child of `command` waiting; called again and again, cheap when there is one."""
        spares = self._spares.setdefault(command, [])
        if any(spare.poll() is None for spare in spares):
            return
        if spares:  # all died while waiting: do not start one after the other
            spares.clear()
            self._not_before[command] = time.monotonic() + 5.0
        elif time.monotonic() >= self._not_before.get(command, self._first):
            spares.append(self._start(command))

    def close(self) -> None:
        """Let the waiting children end."""
        for spare in [spare for spares in self._spares.values() for spare in spares]:
            _close(spare)
            spare.terminate()
            spare.wait()
        self._spares.clear()

    def _start(self, command: Command) -> subprocess.Popen[bytes]:
        line = self._lifeline
        environment = child_environment(
            **_MEMORY,
            **self._environment.get(command, {}),
            **(line.environment if line else {}),
        )
        # A session of its own: Ctrl-C in the terminal and the end of the supervisor do not reach
        # it. The end of the whole dashboard does, through its lifeline.
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if STAY in command else subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
            pass_fds=line.passed if line else passed_on(),
        )


class Turn:
    """A run in a child that stays for the next one: it is over before its process is."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self.child, self.pid, self.over = child, child.pid, False
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        assert self.child.stdout is not None
        self.over = any(line == OVER for line in self.child.stdout)  # until the first, or its end
        if not self.over:
            _close(self.child)

    def poll(self) -> int | None:
        return 0 if self.over else self.child.poll()

    def terminate(self) -> None:
        self.child.terminate()

    def kill(self) -> None:
        self.child.kill()


def _close(child: subprocess.Popen[bytes]) -> None:
    """Close both pipes: whoever waits for a run ends with that."""
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):  # what was never read is written again
                pipe.close()


def _hand(child: subprocess.Popen[bytes], path: Path, stays: bool) -> None:
    """Give a waiting child its run folder. Raises OSError when it is dead."""
    assert child.stdin is not None
    child.stdin.write(f"{json.dumps(str(path))}\n".encode())  # a path may hold a line break
    if stays:
        child.stdin.flush()
    else:
        child.stdin.close()
