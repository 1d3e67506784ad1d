"""The store: every run is a folder, and its status is read from its files and nothing else.

`spec.json` names the run, `request.json` says who asked and when, `attempts` counts the starts,
`lock` is held by the process that executes it, `control` holds what was asked of it (pause or
cancel), `result.json` means done and `error.json` failed. Nothing here imports torch, so that a web
server or a script can hold a store.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ngf import places
from ngf.config import MeasureSpec, PurifySpec, Spec, SpecError, TrainSpec, spec_from_json
from ngf.runs.files import (
    DiskFull,
    Lock,
    NoSuchRun,
    is_full,
    read_json,
    read_once,
    read_text,
    to_json,
    write_atomic,
)
from ngf.runs.log import read_events
from ngf.runs.order import fair_order, last_starts

STATUSES = ("queued", "running", "paused", "cancelled", "failed", "lost", "done")
FINAL = ("done", "failed", "cancelled")
COMMANDS = ("pause", "resume", "cancel")
# A run that failed for these reasons goes on from its checkpoint; after any other it starts anew,
# because the same steps would only fail again or, with other code, give another curve.
_FROM_OUTSIDE = ("killed", "disk_full", "out_of_memory")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
_log = logging.getLogger(__name__)


class Run:
    """One run folder. Every property looks at the files again, so a `Run` never goes stale."""

    def __init__(self, store: Store, path: Path, source: str):
        self.store, self.path, self.source, self.id = store, path, source, path.name

    @property
    def spec(self) -> Spec:
        return spec_from_json(read_once(self.path / "spec.json"))

    @property
    def request(self) -> dict[str, Any]:
        """`owner`, `submitted_at` and `queued_at` (its place in the queue); times are ISO
        8601 in UTC.
        """
        about = {"owner": "", "submitted_at": "", **(read_once(self.path / "request.json") or {})}
        return {"queued_at": about["submitted_at"], **about}

    @property
    def status(self) -> str:
        """queued | running | paused | cancelled | failed | lost | done."""
        status = self._look()
        # The process may have started or ended between two looks at its files; then a second one is
        # right.
        return self._look() if status == "lost" else status

    def _look(self) -> str:
        held = self.source == "user" and Lock.is_held(self.path / "lock")
        if (self.path / "result.json").exists():
            return "done"
        if (self.path / "error.json").exists():
            return "failed"
        if held:
            return "running"
        command, _, starts = (read_text(self.path / "control") or "").partition(" ")
        if command in ("pause", "cancel"):
            return {"pause": "paused", "cancel": "cancelled"}[command]
        # "resume 2" puts a run that had two starts back into the queue; after a third it has no
        # meaning
        return "queued" if self.attempts == (int(starts) if command == "resume" else 0) else "lost"

    @property
    def attempts(self) -> int:
        """How often it was started."""
        return int(read_text(self.path / "attempts") or 0)

    def events(self, since: int = 0) -> list[dict[str, Any]]:
        """Events whose `seq` is `since` or more; never a line that is still being written."""
        return read_events(self.path / "events.jsonl", since)

    @property
    def result(self) -> dict[str, Any] | None:
        return read_json(self.path / "result.json")

    @property
    def error(self) -> dict[str, Any] | None:
        return read_json(self.path / "error.json")

    def control(self, command: str) -> None:
        """Ask the run to `pause`, `resume` or `cancel`. A run that has ended stays as it is."""
        if command not in COMMANDS:
            raise ValueError(f"Unknown command {command!r}. Allowed: {', '.join(COMMANDS)}.")
        if self.source == "zoo" or (self.path / "result.json").exists():
            return
        if command == "resume" and self.status == "running":
            (self.path / "control").unlink(missing_ok=True)
        elif command == "resume":
            write_atomic(self.path / "control", f"resume {self.attempts}")
        else:
            write_atomic(self.path / "control", command)
        self.store.wake()

    def ancestor(self) -> Run | None:
        """The run that this one starts from; None for a training, or when it was deleted."""
        parent = parent_id(self.spec)
        return self.store.find(parent) if parent else None

    def summary(self) -> dict[str, Any]:
        """One row of the list of runs, plain JSON; what is not known is None."""
        spec, request = self.spec, self.request
        root, base = spec, self
        while not isinstance(root, TrainSpec) and (base := base.ancestor()) is not None:
            root = base.spec
        known = isinstance(root, TrainSpec)
        row = {
            "id": self.id,
            "kind": spec.kind,
            "data": root.data if known else None,
            "model": root.model if known else None,
            "attack": root.attack.name if known else None,
            "defense": ", ".join(spec.lane_names()) if isinstance(spec, PurifySpec) else None,
            "measurement": spec.measurement.name if isinstance(spec, MeasureSpec) else None,
            "parent": getattr(spec, "parent", getattr(spec, "target", None)),
            "seed": spec.seed,
            "status": self.status,
            "source": self.source,
            "owner": request["owner"],
            "submitted_at": request["submitted_at"] or None,
        }
        rates: Mapping[str, Any] = read_once(self.path / "result.json") or {}
        rates = rates.get("after") or rates
        return row | {name: rates.get(name) for name in ("ca", "asr", "ra")}


class Store:
    """The runs below `root` (default `NGF_RUNS`, else ./runs) and, read-only, those of `zoo`."""

    def __init__(self, root: Path | None = None, zoo: Path | None = None):
        self.root = Path(root).resolve() if root else places.runs_dir()
        self.zoo = Path(zoo or places.ZOO).resolve()
        self._unreadable: set[Path] = set()

    def submit(self, spec: Spec, owner: str = "") -> Run:
        """The run of `spec`, made and queued when there is none yet. Identical requests give one
        run.

        A failed or cancelled run is queued again; a cancelled one goes on from its checkpoint.
        Raises SpecError when the names in `spec` cannot name a folder, `DiskFull` when there is no
        space.
        """
        if not _ID.fullmatch(spec.id):
            raise SpecError(f"{spec.id!r} cannot name a run: use letters, digits and hyphens.")
        run = self.find(spec.id)
        if run is None:
            self._create(spec, owner)
            run = Run(self, self.root / spec.id, "user")
        elif run.source == "user":
            if (status := run.status) in ("failed", "cancelled"):
                self._again(run, owner)
            elif status == "running" and read_text(run.path / "control") == "cancel":
                run.control("resume")  # asked for again while it was still stopping
        self.wake()
        return run

    def _create(self, spec: Spec, owner: str) -> None:
        temporary = None
        now = _now()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=self.root))
            write_atomic(temporary / "spec.json", to_json(dict(sorted(spec.to_json().items()))))
            write_atomic(
                temporary / "request.json",
                to_json({"owner": owner, "submitted_at": now, "queued_at": now}),
            )
            temporary.chmod(0o755)
            os.rename(temporary, self.root / spec.id)
        except OSError as exc:
            if temporary is not None:
                shutil.rmtree(temporary, ignore_errors=True)
            if is_full(exc):
                raise DiskFull(
                    errno.ENOSPC,
                    "The disk is full: the run was not submitted. Free some space "
                    "or delete runs, then submit it again",
                ) from exc
            if not (self.root / spec.id / "spec.json").exists():  # else another process was first
                raise

    def _again(self, run: Run, owner: str) -> None:
        lock = Lock(run.path / "lock")
        if not lock.acquire():
            return  # it is stopping this very moment, or another process has started it again
        try:
            error = run.error
            if error is not None and error.get("kind") not in _FROM_OUTSIDE:
                shutil.rmtree(run.path / "state", ignore_errors=True)
                (run.path / "events.jsonl").unlink(missing_ok=True)
            write_atomic(
                run.path / "request.json",
                to_json(
                    {
                        "owner": owner,
                        "submitted_at": run.request["submitted_at"],
                        "queued_at": _now(),
                    }
                ),
            )
            (run.path / "crashes").unlink(missing_ok=True)
            write_atomic(run.path / "control", f"resume {run.attempts}")
            (run.path / "error.json").unlink(missing_ok=True)  # last: from here on it is queued
        finally:
            lock.release()

    def find(self, run_id: str) -> Run | None:
        """The run named `run_id` (`id:lane` names the run as well), or None."""
        run_id = run_id.partition(":")[0]
        if _ID.fullmatch(run_id):
            for folder, source in ((self.zoo, "zoo"), (self.root, "user")):
                if (folder / run_id / "spec.json").exists():
                    return Run(self, folder / run_id, source)
        return None

    def get(self, run_id: str) -> Run:
        """The run named `run_id`. Raises `NoSuchRun`, a KeyError that says what runs there are."""
        run = self.find(run_id)
        if run is None:
            ids = [run.id for run in self.runs()]
            some = ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "") or "none yet"
            raise NoSuchRun(f"There is no run {run_id!r} in {self.root}. Runs: {some}.")
        return run

    def runs(self) -> list[Run]:
        """All runs: newest first, then the zoo by name. Folders that cannot be read are left
        out and logged.
        """
        user = [run for run in self._folder(self.root, "user") if self.zoo / run.id != run.path]
        user.sort(key=lambda run: (run.request["submitted_at"], run.id), reverse=True)
        return user + sorted(self._folder(self.zoo, "zoo"), key=lambda run: run.id)

    def _folder(self, folder: Path, source: str) -> Iterable[Run]:
        try:
            entries = [entry.name for entry in os.scandir(folder) if _ID.fullmatch(entry.name)]
        except FileNotFoundError:
            return
        for name in entries:
            run = Run(self, folder / name, source)
            try:
                if (read := read_once(run.path / "spec.json")) is not None:
                    spec_from_json(read)
                    yield run
            except ValueError as exc:  # not JSON, or a SpecError
                if run.path not in self._unreadable:
                    self._unreadable.add(run.path)
                    _log.error("%s is left out: %s", run.path, exc)

    def delete(self, run_id: str) -> None:
        """Remove a run. Raises ValueError for a zoo run, a running one, and one that waiting
        runs need.
        """
        run = self.get(run_id)
        if run.source == "zoo":
            raise ValueError(f"{run.id} belongs to the zoo, which is read-only.")
        waiting = [
            other.id
            for other in self.runs()
            if parent_id(other.spec) == run.id
            and other.status in ("queued", "running", "paused", "lost")
        ]
        if waiting:
            raise ValueError(
                f"{run.id} is needed by {', '.join(waiting)}: cancel or delete them first."
            )
        lock = Lock(run.path / "lock")
        if not lock.acquire(timeout=0.2):
            raise ValueError(f"{run.id} is running: cancel it first.")
        try:  # renamed first, so that nobody ever sees half a run
            gone = self.root / f".deleted-{run.id}-{time.time_ns()}"
            os.rename(run.path, gone)
        finally:
            lock.release()
        shutil.rmtree(gone)
        self.wake()

    def queue(self) -> list[Run]:
        """Waiting runs in the order in which they will start: lost ones at once, then owners
        in turn.
        """
        runs = [(run, run.status) for run in self.runs() if run.source == "user"]
        waiting = [run for run, status in runs if status == "queued"]
        return [run for run, status in runs if status == "lost"] + fair_order(
            waiting, last_starts(run for run, _ in runs)
        )

    def clean(self) -> None:
        """Remove what a killed process has left half made or half removed, an hour after."""
        for left in (*self.root.glob(".new-*"), *self.root.glob(".deleted-*")):
            if time.time() - left.stat().st_mtime > 3600:
                shutil.rmtree(left)

    def wake(self) -> None:
        """Tell a supervisor that something has changed (it would see it a moment later anyway)."""
        with suppress(OSError):  # only a hint: there may be no space for it, or no folder yet
            (self.root / ".wake").touch()
            os.utime(self.root / ".wake", ns=(time.time_ns(), time.time_ns()))

    def wake_time(self) -> int:
        """When something changed last, in nanoseconds; 0 before anything did."""
        try:
            return (self.root / ".wake").stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    @property
    def supervised(self) -> bool:
        """Whether a supervisor serves this store."""
        return Lock.is_held(self.root / ".supervisor.lock")


def parent_id(spec: Spec) -> str | None:
    """Id of the run whose weights `spec` starts from, without its lane."""
    return (getattr(spec, "parent", None) or getattr(spec, "target", "")).partition(":")[0] or None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
