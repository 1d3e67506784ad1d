"""Where a run is executed. An executor is a function `(command, run path) -> handle`.

`Local` starts processes on this machine and keeps a warm one for each command. An executor for a
cluster has the same form: it starts `python -m ngf run RUN_DIR` elsewhere and returns something
with `poll`, `terminate` and `kill`. Everything else (progress, pause, cancel, resume) goes through
the files of the run folder.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from ngf.places import child_environment
from ngf.runs.lifeline import passed_on

# Importing torch takes a core for two seconds: not in the first moments of the run that was just
# started.
SPARE_DELAY = 2.0
FIRST_SPARE_DELAY = 5.0  # when the dashboard starts, its first page comes first


class Handle(Protocol):
    """A process that executes a run; `poll` is None while it lives. `subprocess.Popen` is one."""

    pid: int

    def poll(self) -> int | None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


Command = tuple[str, ...]
Executor = Callable[[Command, Path], Handle]


class Local:
    """Executes runs in processes of this machine, each in a child that was started (never
    forked) before.
    """

    def __init__(self, environment: Mapping[Command, Mapping[str, str]] | None = None):
        self._environment = environment or {}
        self._spares: dict[Command, subprocess.Popen[bytes]] = {}
        self._not_before: dict[Command, float] = {}
        self._first = time.monotonic() + FIRST_SPARE_DELAY

    def __call__(self, command: Command, path: Path) -> Handle:
        """Hand the run folder `path` to the warm child of `command`, or to a fresh one."""
        spare = self._spares.pop(command, None)
        self._not_before[command] = time.monotonic() + SPARE_DELAY
        for child in (spare, None):
            child = child or self._start(command)
            try:
                _hand(child, path)
                return child
            except OSError:  # the spare died while it was waiting: a fresh one takes its place
                if spare is None:
                    raise
                spare.wait()
        raise OSError(f"No process could be started with {' '.join(command)}")

    def keep_warm(self, command: Command) -> None:
        """Have a child of `command` waiting; called again and again, cheap when there is one."""
        spare = self._spares.get(command)
        if spare is not None:
            if spare.poll() is None:
                return
            del self._spares[command]  # it died while waiting: do not start one after the other
            self._not_before[command] = time.monotonic() + 5.0
        elif time.monotonic() >= self._not_before.get(command, self._first):
            self._spares[command] = self._start(command)

    def close(self) -> None:
        """Let the waiting children end."""
        for spare in self._spares.values():
            if spare.stdin is not None:
                spare.stdin.close()
            spare.terminate()
            spare.wait()
        self._spares.clear()

    def _start(self, command: Command) -> subprocess.Popen[bytes]:
        environment = child_environment(**self._environment.get(command, {}))
        # A session of its own: Ctrl-C in the terminal and the end of the supervisor do not reach
        # it. The end of the whole dashboard does, through its lifeline.
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
            pass_fds=passed_on(),
        )


def _hand(child: subprocess.Popen[bytes], path: Path) -> None:
    """Give a waiting child its run folder. Raises OSError when it is dead."""
    assert child.stdin is not None
    child.stdin.write(f"{json.dumps(str(path))}\n".encode())  # a path may hold a line break
    child.stdin.close()
