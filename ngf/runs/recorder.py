"""The one writer of a run's events, checkpoint and result. Imports no torch.

A pipeline makes a `Recorder` on its run folder, restores itself from `state()` where there is one,
emits events, calls `check()` between steps and `save_state()` now and then, and ends with
`finish(result)`. Steps that an earlier attempt has written are not written again, so a curve has
neither gap nor duplicate.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ngf.runs.files import NO_LINK, DiskFull, fsync_tree, is_full, read_text, to_json, write_atomic
from ngf.runs.folder import ATTEMPTS, CONTROL, EVENTS, RESULT, STATE
from ngf.runs.log import scan

_STAMPS = ("seq", "t")  # what an event has besides what was said
CHECK_SECONDS = 0.02  # between two reads of the control file: a `stat` for every step is slow


class Stopped(Exception):
    """A run was asked to stop before its end; a normal end of an attempt."""


class Paused(Stopped):
    """Stop here, keep the checkpoint and free the slot."""


class Cancelled(Stopped):
    """Stop here for good; the curves so far stay."""


class Interrupted(Paused):
    """The process has to end (SIGTERM); the run goes on at the next start of a supervisor."""


_interrupted = False


def interrupt() -> None:
    """Let the next `Recorder.check` of this process raise `Interrupted`; for signal handlers."""
    global _interrupted
    _interrupted = True


def interrupted() -> bool:
    """Whether this process was asked to end."""
    return _interrupted


def checkpoints(run: Path) -> list[Path]:
    """Folders of the complete checkpoints of a run folder, in no order; their names are numbers."""
    return [path for path in (run / STATE).glob("*") if path.name.isdigit()]


class Recorder:
    """Writes one run folder; made by the process that holds the run's lock, or by the first of
    those that it has started to train together.

    next_seq: the number of the next event.
    attempt: 1 for the first start of the run, 2 for the second...
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self.attempt = max(1, int(read_text(self.path / ATTEMPTS) or 1))
        self._state = self.path / STATE
        for left in (*self.path.glob(".state-*.tmp"), *sorted(checkpoints(self.path))[:-1]):
            shutil.rmtree(
                left
            )  # a kill came between writing a checkpoint and removing the one before
        log = self.path / EVENTS
        self._size = self.next_seq = 0
        self._written: set[str] = set()
        self._last: dict[str, int] = {}
        last = 0.0
        for events, self._size in scan(log):  # a slice at a time: there may be millions
            for event in events:
                self._is_new(event)
            self.next_seq, last = self.next_seq + len(events), events[-1]["t"]
        self._file = os.open(
            log,
            os.O_RDWR | os.O_CREAT | os.O_APPEND | NO_LINK | getattr(os, "O_BINARY", 0),
            0o644,
        )
        weakref.finalize(self, os.close, self._file)
        if self._size < os.fstat(self._file).st_size:
            os.ftruncate(self._file, self._size)  # the line that a kill cut short
        self._t0 = time.monotonic() - last
        self._looked = 0.0

    def last_step(self, lane: str = "") -> int:
        """The last step (or epoch) of `lane` that is written, -1 when there is none."""
        return self._last.get(lane, -1)

    def emit(self, type: str, **values: Any) -> None:
        """Append one event. Steps, epochs and what else a lane told in an earlier attempt are left
        out.
        """
        if not self._is_new({"type": type, **values}):
            return
        t = round(time.monotonic() - self._t0, 4)
        line = to_json({"seq": self.next_seq, "type": type, "t": t, **values}) + "\n"
        self._append(line.encode())
        self.next_seq += 1

    def _is_new(self, event: dict[str, Any]) -> bool:
        kind, lane = event["type"], event.get("lane") or ""
        if kind in ("step", "epoch"):
            if event["step"] <= self.last_step(lane):
                return False
            self._last[lane] = event["step"]
        elif lane:  # a defense is deterministic: it says the same again
            key = to_json({name: value for name, value in event.items() if name not in _STAMPS})
            if key in self._written:
                return False
            self._written.add(key)
        return True

    def _append(self, data: bytes) -> None:
        start = self._size
        try:
            while data:
                count = os.write(self._file, data)
                self._size, data = self._size + count, data[count:]
        except OSError as exc:
            if not is_full(exc):
                raise
            if self._size > start:
                os.ftruncate(self._file, start)
                self._size = start
            raise DiskFull(errno.ENOSPC, "The disk is full: the run cannot go on") from exc

    def check(self, write: Callable[[Path], None] | None = None) -> None:
        """Raise `Paused` or `Cancelled` when the run was asked to stop. Cheap: call it after every
        step.

        With `write`, a checkpoint is saved (see `save_state`) before the exception leaves.
        """
        now = time.monotonic()
        if not _interrupted and now - self._looked < CHECK_SECONDS:
            return
        self._looked = now
        stop = self._asked()
        if stop is not None:
            if write is not None:
                self.save_state(write)
            raise stop

    def _asked(self) -> Stopped | None:
        command = (read_text(self.path / CONTROL) or "").strip()
        if command == "cancel":
            return Cancelled("The run was cancelled.")
        if command == "pause":
            return Paused("The run was paused.")
        return Interrupted("The process was asked to end.") if _interrupted else None

    def save_state(self, write: Callable[[Path], None]) -> None:
        """Save a checkpoint: `write(folder)` fills an empty folder, which then replaces the one
        before.

        A kill at any moment leaves a complete checkpoint: the new one or the one before.
        """
        os.fsync(self._file)  # a checkpoint on the disk must not be ahead of the events on the disk
        old = sorted(checkpoints(self.path))
        number = int(old[-1].name) + 1 if old else 1
        temporary = self.path / f".state-{number:09d}.tmp"
        try:
            temporary.mkdir()
            write(temporary)
            fsync_tree(temporary)
            self._state.mkdir(exist_ok=True)
            os.replace(temporary, self._state / f"{number:09d}")
        except BaseException as exc:
            shutil.rmtree(temporary, ignore_errors=True)
            if is_full(exc):
                raise DiskFull(
                    errno.ENOSPC, "The disk is full: no checkpoint could be written"
                ) from exc
            raise
        for folder in old:
            shutil.rmtree(folder)

    def state(self) -> Path | None:
        """Folder of the last complete checkpoint, None when there is none."""
        return max(checkpoints(self.path), default=None)

    def finish(self, result: dict[str, Any]) -> None:
        """Write result.json, after which the run is done; its checkpoint is no longer needed."""
        os.fsync(self._file)
        write_atomic(self.path / RESULT, to_json(result))
        if self._state.is_dir():
            shutil.rmtree(self._state)
