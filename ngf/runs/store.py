"""The store: every run is a folder, and its status is read from its files and nothing else.

`ngf.runs.folder` names the files. Nothing here imports torch, so that a web server or a script can
hold a store.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from ngf import places
from ngf.config import MeasureSpec, PurifySpec, Spec, Target, TrainSpec, spec_from_json
from ngf.options import Explained, SpecError
from ngf.runs.files import (
    DiskFull,
    Lock,
    is_full,
    read_json,
    read_once,
    read_text,
    to_json,
    write_atomic,
)
from ngf.runs.folder import (
    AGAIN,
    ATTEMPTS,
    COMMANDS,
    CONTROL,
    CRASHES,
    ERROR,
    EVENTS,
    FINAL,
    LOCK,
    REQUEST,
    RESULT,
    SPEC,
    STATE,
    UNFINISHED,
    Status,
)
from ngf.runs.log import Outline, read_events, read_lines, read_outline

Source = Literal["user", "zoo"]
# A run that failed for these reasons goes on from its checkpoint; after any other it starts anew,
# because the same steps would only fail again or, with other code, give another curve.
_FROM_OUTSIDE = ("killed", "disk_full", "out_of_memory")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
_log = logging.getLogger(__name__)
_AnySpec = TypeVar("_AnySpec", TrainSpec, PurifySpec, MeasureSpec)


def spec_of(path: Path) -> Spec:
    """What was asked for in a run folder. Raises SpecError (JSON: ValueError) when it is none."""
    found: Spec = read_once(path / SPEC, spec_from_json)
    return found


class NoSuchRun(Explained, KeyError):
    """The run asked for does not exist; the message says which ones do."""

    kind = "not_found"
    advice = "Choose one of the runs that exist."

    def __str__(self) -> str:
        return str(self.args[0])  # a KeyError would put it in quotes


class Run:
    """One run folder; in truth a `TrainRun`, `PurifyRun` or `MeasureRun` (see `open_run`).

    Every property looks at the files again, so a `Run` never goes stale.
    """

    kind: ClassVar[str]

    def __init__(self, store: Store, path: Path, source: Source, run_id: str = ""):
        self.store, self.path, self.source = store, path, source
        self.id = run_id or path.name

    @property
    def spec(self) -> Spec:
        return spec_of(self.path)

    @property
    def request(self) -> dict[str, str]:
        """`owner`, `submitted_at` and `queued_at` (its place in the queue), ISO 8601 in UTC."""
        about = {"owner": "", "submitted_at": "", **(read_once(self.path / REQUEST) or {})}
        return {"queued_at": about["submitted_at"], **about}

    @property
    def status(self) -> Status:
        """What the files say now."""
        status = self._read_status()
        # The process may have started or ended between two looks at its files; then a second one is
        # right.
        return self._read_status() if status == "lost" else status

    def _read_status(self) -> Status:
        held = self.source == "user" and Lock.is_held(self.path / LOCK)
        if (self.path / RESULT).exists():
            return "done"
        if (self.path / ERROR).exists():
            return "failed"
        if held:
            return "running"
        command, _, starts = (read_text(self.path / CONTROL) or "").partition(" ")
        if command == "pause":
            return "paused"
        if command == "cancel":
            return "cancelled"
        # "resume 2" puts a run that had two starts back into the queue; after a third it has no
        # meaning
        return "queued" if self.attempts == (int(starts) if command == "resume" else 0) else "lost"

    @property
    def attempts(self) -> int:
        """How often it was started."""
        return int(read_text(self.path / ATTEMPTS) or 0)

    def events(self, since: int = 0) -> list[dict[str, Any]]:
        """Events whose `seq` is `since` or more; never a line that is still being written."""
        return read_events(self.path / EVENTS, since)

    def lines(self, since: int, limit: int, seconds: float = math.inf) -> tuple[list[bytes], bool]:
        """At most `limit` events from number `since` on, each as JSON, and whether there are more;
        none when so many seconds are not enough to get there.
        """
        return read_lines(self.path / EVENTS, since, limit, seconds)

    def outline(self, seconds: float = math.inf) -> Outline:
        """The events in few words, however many there are: what a chart needs of them, read for
        so many seconds at most.
        """
        return read_outline(self.path / EVENTS, seconds)

    @property
    def result(self) -> dict[str, Any] | None:
        found: dict[str, Any] | None = read_json(self.path / RESULT)
        return found

    @property
    def error(self) -> dict[str, Any] | None:
        found: dict[str, Any] | None = read_json(self.path / ERROR)
        return found

    def finished(self) -> dict[str, Any]:
        """The result of a run that is done. Raises SpecError for one that is not."""
        result = self.result
        if result is None:
            raise SpecError(f"{self.id} has no result yet: it is {self.status}.")
        return result

    def control(self, command: str) -> None:
        """Ask the run to `pause`, `resume` or `cancel`. A run that has ended stays as it is."""
        if command not in COMMANDS:
            raise ValueError(f"Unknown command {command!r}. Allowed: {', '.join(COMMANDS)}.")
        if self.source == "zoo" or (self.path / RESULT).exists():
            return
        if command == "resume" and self.status == "running":
            (self.path / CONTROL).unlink(missing_ok=True)
        elif command == "resume":
            write_atomic(self.path / CONTROL, f"resume {self.attempts}")
        else:
            write_atomic(self.path / CONTROL, command)
        self.store.wake()

    def ancestor(self) -> Run | None:
        """The run that this one starts from; None for a training, or when it was deleted."""
        parent = parent_id(self.spec)
        return self.store.find(parent) if parent else None

    def is_ready(self) -> bool:
        """Whether the run that this one starts from has ended; without any it starts, to fail with
        a reason.
        """
        parent = self.ancestor()
        return parent is None or parent.status in FINAL

    def training(self) -> TrainRun | None:
        """The training that this run goes back to; None when one on the way was deleted."""
        run: Run | None = self
        while run is not None and not isinstance(run, TrainRun):
            run = run.ancestor()
        return run

    def summary(self) -> dict[str, Any]:
        """One row of the list of runs, plain JSON; what is not known is None."""
        spec, request, training = self.spec, self.request, self.training()
        origin = training.spec if training else None
        rates: Mapping[str, Any] = read_once(self.path / RESULT) or {}
        rates = rates.get("after") or rates
        return {
            "id": self.id,
            "kind": spec.kind,
            "data": origin.data if origin else None,
            "model": origin.model if origin else None,
            "attack": origin.attack.name if origin else None,
            "defense": ", ".join(spec.lane_names()) if isinstance(spec, PurifySpec) else None,
            "measurement": spec.measurement.name if isinstance(spec, MeasureSpec) else None,
            "parent": _starts_from(spec),
            "seed": spec.seed,
            "status": self.status,
            "source": self.source,
            "owner": request["owner"],
            "submitted_at": request["submitted_at"] or None,
            **{name: rates.get(name) for name in ("ca", "asr", "ra")},
        }


def _expect(kind: type[_AnySpec], spec: Spec) -> _AnySpec:
    if not isinstance(spec, kind):
        raise SpecError(f"{spec.id} has become another kind of run.")
    return spec


class TrainRun(Run):
    """A training: when it is done, its folder holds a model."""

    kind = "train"

    @property
    def spec(self) -> TrainSpec:
        return _expect(TrainSpec, super().spec)


class PurifyRun(Run):
    """A purification: when it is done, its folder holds a model per lane."""

    kind = "purify"

    @property
    def spec(self) -> PurifySpec:
        return _expect(PurifySpec, super().spec)


class MeasureRun(Run):
    """A measurement: its folder holds values and arrays."""

    kind = "measure"

    @property
    def spec(self) -> MeasureSpec:
        return _expect(MeasureSpec, super().spec)


_RUNS: dict[str, type[TrainRun] | type[PurifyRun] | type[MeasureRun]] = {
    "train": TrainRun,
    "purify": PurifyRun,
    "measure": MeasureRun,
}


def open_run(store: Store, path: Path, source: Source = "user", run_id: str = "") -> Run:
    """The run in folder `path`. Raises SpecError (JSON: ValueError) when it holds none."""
    return _RUNS[spec_of(path).kind](store, path, source, run_id)


class Store:
    """The runs below `root` (default `NGF_RUNS`, else ./runs) and, read-only, those of `zoo`."""

    def __init__(self, root: Path | None = None, zoo: Path | None = None):
        self.root = Path(root).resolve() if root else places.runs_dir()
        self.zoo = Path(zoo or places.ZOO).resolve()
        self._unreadable: set[Path] = set()

    def submit(self, spec: Spec, owner: str = "") -> Run:
        """The run of `spec`, made and queued when there is none yet. Identical requests give one
        run. What people ask for comes in through `ngf.runs.submit`, which checks it.

        A failed or cancelled run is queued again; a cancelled one goes on from its checkpoint.
        Raises SpecError when the names in `spec` cannot name a folder, `DiskFull` when there is no
        space.
        """
        if not _ID.fullmatch(spec.id):
            raise SpecError(f"{spec.id!r} cannot name a run: use letters, digits and hyphens.")
        run = self.find(spec.id)
        if run is None:
            self._create(spec, owner)
            run = open_run(self, self.root / spec.id)
        elif run.source == "user":
            if (status := run.status) in AGAIN:
                self._again(run, owner)
            elif status == "running" and read_text(run.path / CONTROL) == "cancel":
                run.control("resume")  # asked for again while it was still stopping
        self.wake()
        return run

    def _create(self, spec: Spec, owner: str) -> None:
        temporary = None
        now = _now()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=self.root))
            write_atomic(temporary / SPEC, to_json(dict(sorted(spec.to_json().items()))))
            write_atomic(
                temporary / REQUEST,
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
                    "The disk is full: the run was not submitted. Free some space or delete runs, "
                    "then submit it again",
                ) from exc
            if not (self.root / spec.id / SPEC).exists():  # else another process was first
                raise

    def _again(self, run: Run, owner: str) -> None:
        lock = Lock(run.path / LOCK)
        if not lock.acquire():
            return  # it is stopping this very moment, or another process has started it again
        try:
            error = run.error
            if error is not None and error.get("kind") not in _FROM_OUTSIDE:
                shutil.rmtree(run.path / STATE, ignore_errors=True)
                (run.path / EVENTS).unlink(missing_ok=True)
            submitted_at = run.request["submitted_at"]
            write_atomic(
                run.path / REQUEST,
                to_json({"owner": owner, "submitted_at": submitted_at, "queued_at": _now()}),
            )
            (run.path / CRASHES).unlink(missing_ok=True)
            write_atomic(run.path / CONTROL, f"resume {run.attempts}")
            (run.path / ERROR).unlink(missing_ok=True)  # last: from here on it is queued
        finally:
            lock.release()

    def find(self, run_id: str) -> Run | None:
        """The run named `run_id` (`id:lane` names the run as well), or None."""
        run_id = Target.parse(run_id).run
        places_to_look: tuple[tuple[Path, Source], ...] = (
            (self.zoo, "zoo"),
            (self.root, "user"),
        )
        if _ID.fullmatch(run_id):
            for folder, source in places_to_look:
                if (folder / run_id / SPEC).exists():
                    return open_run(self, folder / run_id, source)
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
        """All runs: newest first, then the zoo by name. Folders that cannot be read are left out
        and logged.
        """
        user = [run for run in self._folder(self.root, "user") if self.zoo / run.id != run.path]
        user.sort(key=lambda run: (run.request["submitted_at"], run.id), reverse=True)
        return user + sorted(self._folder(self.zoo, "zoo"), key=lambda run: run.id)

    def trainings(self) -> list[TrainRun]:
        """All trainings, in the order of `runs`."""
        return [run for run in self.runs() if isinstance(run, TrainRun)]

    def _folder(self, folder: Path, source: Source) -> Iterator[Run]:
        try:
            entries = [entry.name for entry in os.scandir(folder) if _ID.fullmatch(entry.name)]
        except FileNotFoundError:
            return
        for name in entries:
            path = folder / name
            try:
                if (path / SPEC).exists():
                    yield open_run(self, path, source)
            except ValueError as exc:  # not JSON, or a SpecError
                if path not in self._unreadable:
                    self._unreadable.add(path)
                    _log.error("%s is left out: %s", path, exc)

    def delete(self, run_id: str) -> None:
        """Remove a run. Raises ValueError for a zoo run, a running one, and one that waiting runs
        need.
        """
        run = self.get(run_id)
        if run.source == "zoo":
            raise ValueError(f"{run.id} belongs to the zoo, which is read-only.")
        waiting = [
            other.id
            for other in self.runs()
            if parent_id(other.spec) == run.id and other.status in UNFINISHED
        ]
        if waiting:
            raise ValueError(
                f"{run.id} is needed by {', '.join(waiting)}: cancel or delete them first."
            )
        lock = Lock(run.path / LOCK)
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
        """Waiting runs in the order in which they will start: lost ones at once, then owners in
        turn.
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


def _starts_from(spec: Spec) -> str | None:
    """What a specification names as its beginning: `id`, or `id:lane`."""
    if isinstance(spec, PurifySpec):
        return spec.parent
    return spec.target if isinstance(spec, MeasureSpec) else None


def parent_id(spec: Spec) -> str | None:
    """Id of the run whose weights `spec` starts from, without its lane."""
    named = _starts_from(spec)
    return Target.parse(named).run or None if named else None


def fair_order(queued: Iterable[Run], starts: Mapping[str, float]) -> list[Run]:
    """Queued runs in the order in which they start: owners take turns, first come first within an
    owner.

    starts: when each owner's last start was; who has waited longest since then is next.
    """
    lines: dict[str, list[Run]] = {}
    for run in sorted(queued, key=lambda run: (run.request["queued_at"], run.id)):
        lines.setdefault(run.request["owner"], []).append(run)
    turn = {owner: 0 for owner in lines}
    order = []
    while lines:
        owner = min(
            lines, key=lambda o: (turn[o], starts.get(o, 0.0), lines[o][0].request["queued_at"])
        )
        order.append(lines[owner].pop(0))
        turn[owner] += 1
        if not lines[owner]:
            del lines[owner]
    return order


def last_starts(runs: Iterable[Run]) -> dict[str, float]:
    """When each owner's last start was, in seconds since 1970."""
    starts: dict[str, float] = {}
    for run in runs:
        try:
            started = (run.path / ATTEMPTS).stat().st_mtime
        except FileNotFoundError:
            continue
        owner = run.request["owner"]
        starts[owner] = max(starts.get(owner, 0.0), started)
    return starts


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
