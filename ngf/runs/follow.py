"""Following a run in a terminal: its events as lines of text, and executing it here when
nobody else does.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any

from ngf.runs import recorder
from ngf.runs.child import PIPELINES, execute
from ngf.runs.phases import choosing
from ngf.runs.store import Run
from ngf.terminal import end_signals, handling

_EVERY = 0.1  # seconds between two looks at the events
_QUIET = 1.0  # seconds between two lines for steps that nothing was measured after
_PAUSING = b"Pausing after a checkpoint. Press Ctrl-C again to end at once.\n"


def complete(run: Run, say: Callable[[str], None], pipelines: Mapping[str, str] = PIPELINES) -> str:
    """See `run` through to its end and return its status then: done, failed, cancelled or paused.

    A supervisor or another process that executes it is followed; otherwise it is executed here. The
    first Ctrl-C (or SIGTERM, or SIGHUP) pauses a run that is executed here, with a checkpoint;
    elsewhere it raises KeyboardInterrupt and the run goes on.

    say: must not raise; whether somebody reads what a run says is not the run's affair.
    """
    progress = Progress(run, say)
    while (status := run.status) in ("queued", "lost", "running"):
        if status == "running" or run.store.supervised:
            progress.update()
            time.sleep(_EVERY)
            continue
        with progress.in_background(), _pause_on_signal(run), _stdout_as_stderr():
            execute(run, pipelines)
        if recorder.interrupted():
            raise KeyboardInterrupt
    progress.update()
    return status


class Progress:
    """Says the new events of a run, one line each, leaving out what comes too fast to be read."""

    def __init__(self, run: Run, say: Callable[[str], None]):
        self._run, self._say = run, say
        self._next = run.outline().total
        self._said = 0.0

    def update(self) -> None:
        for event in self._run.events(self._next):
            self._next = event["seq"] + 1
            rates = any(event.get(name) is not None for name in ("ca", "asr", "ra"))
            frequent = event["type"] in ("step", "layer", "partial") and not rates
            if not frequent or time.monotonic() - self._said > _QUIET:
                self._said = time.monotonic()
                self._say(line(event))

    @contextmanager
    def in_background(self) -> Iterator[None]:
        over = threading.Event()

        def watch() -> None:
            while not over.wait(_EVERY):
                self.update()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self.update()


def line(event: Mapping[str, Any]) -> str:
    """One event as a line of text: `ngf step 20/200  loss 0.31  CA 91.2 %`."""
    parts = [" ".join(filter(None, (event.get("lane"), event["type"])))]
    if event["type"] == "phase":
        parts = [" ".join(filter(None, (event.get("lane"), event["phase"])))]
    if event["type"] == "choosing":
        parts[0] = " ".join(filter(None, (event.get("lane"), choosing(event))))
    if event.get("step") is not None:
        parts[0] += f" {event['step']}" + (f"/{event['steps']}" if event.get("steps") else "")
    if event.get("layer"):
        parts.append(event["layer"])
    if event.get("why"):
        parts.append(event["why"])
    if event.get("loss") is not None:
        parts.append(f"loss {event['loss']:.4g}")
    for name in ("ca", "asr", "ra"):
        if event.get(name) is not None:
            parts.append(f"{name.upper()} {100 * event[name]:.1f} %")
    if event.get("fraction") is not None:
        parts.append(f"{100 * event['fraction']:.0f} %")
    return "  ".join(parts)


@contextmanager
def _pause_on_signal(run: Run) -> Iterator[None]:
    def pause(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # the second Ctrl-C does not wait
        try:
            run.control("pause")  # before anything is said: the terminal may be gone
        except OSError:  # such as a full disk
            recorder.interrupt()
        with suppress(OSError):  # not by `print`: the signal may have come in the midst of one
            os.write(2, _PAUSING)

    with handling([signal.SIGINT, *end_signals()], pause):
        yield


@contextmanager
def _stdout_as_stderr() -> Iterator[None]:
    """Standard output is for the one JSON document: what a run prints goes to standard error."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
