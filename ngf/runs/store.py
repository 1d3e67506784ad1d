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
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from ngf import places
from ngf.catalogue import catalogue
from ngf.config import MeasureSpec, PurifySpec, Spec, Target, TrainSpec, spec_from_json
from ngf.options import Explained, SpecError
from ngf.runs.facts import Facts
from ngf.runs.files import (
    Damaged,
    DiskFull,
    Lock,
    is_full,
    read_json,
    read_text,
    to_json,
    write_atomic,
)
from ngf.runs.folder import (
    AGAIN,
    BEFORE,
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
from ngf.runs.index import Index
from ngf.runs.log import Outline, read_events, read_lines, read_outline
from ngf.runs.rows import RATES, Row

Source = Literal["user", "zoo", "shipped"]  # the last: found by name, not listed
# A run that failed for these reasons goes on from its checkpoint; after any other it starts anew,
# because the same steps would only fail again or, with other code, give another curve. What the
# failed attempt has left is set aside.
_FROM_OUTSIDE = ("killed", "disk_full", "out_of_memory")
BLINK = 0.25  # seconds that one look at all runs is good for
TICK = 0.05  # seconds: more than the clock of a file system counts in, where it is a fast one
SUPERVISOR = ".supervisor.lock"  # held by who executes the runs of a store
IMPORTED = "mine-"  # how the names of imported models begin, see `TrainSpec`
_CONTENT = re.compile(r"[0-9a-f]{16}")  # names the folder of the images of an import
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{,199}")  # a folder cannot have a name much longer
_log = logging.getLogger(__name__)
_AnySpec = TypeVar("_AnySpec", TrainSpec, PurifySpec, MeasureSpec)


def spec_of(path: Path) -> Spec:
    """What was asked for in a run folder. Raises SpecError when it is none."""
    return spec_from_json(read_json(path / SPEC))


class NoSuchRun(Explained, KeyError):
    """The run asked for does not exist; the message says which ones do."""

    kind = "not_found"
    advice = "Choose one of the runs that exist."

    def __str__(self) -> str:
        return str(self.args[0])  # a KeyError would put it in quotes


class Run:
    """One run folder; in truth a `TrainRun`, `PurifyRun` or `MeasureRun` (see `open_run`).

    Every property looks at the folder again, so a `Run` never goes stale. What the small files say
    comes checked from the index of the store; a property of a run that was deleted or damaged since
    raises SpecError.
    """

    kind: ClassVar[str]

    def __init__(
        self, store: Store, path: Path, source: Source, run_id: str = "", facts: Facts | None = None
    ):
        self.store, self.path, self.source = store, path, source
        self.id = run_id or path.name
        self._spec = facts.spec if facts else None

    @property
    def facts(self) -> Facts:
        """What the small files of its folder say. Raises SpecError."""
        return self.store.facts(self.path)

    @property
    def spec(self) -> Spec:
        """What was asked for. It never changes: its hash is the name of the folder."""
        if self._spec is None:
            self._spec = self.facts.spec
        return self._spec

    @property
    def request(self) -> Mapping[str, str]:
        """Who asked for it and when; see `Facts`."""
        return self.facts.request

    @property
    def status(self) -> Status:
        """What the files say now."""
        ended = self.facts.ended
        if ended:
            return ended
        status = self._read_status()
        # The process may have started or ended between two looks at its files; then a second one is
        # right.
        return self._read_status() if status == "lost" else status

    def _read_status(self) -> Status:
        held = self.source == "user" and Lock.is_held(self.path / LOCK)
        facts = self.facts  # after the lock: a process writes how it ended before it lets go
        if facts.ended:
            return facts.ended
        if held:
            return "running"
        if facts.command == "pause":
            return "paused"
        if facts.command == "cancel":
            return "cancelled"
        # "resume 2" puts a run that had two starts back into the queue; after a third it has no
        # meaning
        waiting = facts.attempts == (facts.starts if facts.command == "resume" else 0)
        return "queued" if waiting else "lost"

    @property
    def attempts(self) -> int:
        """How often it was started."""
        return self.facts.attempts

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
        if self.source != "user" or (self.path / RESULT).exists():
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
        """Whether the run that this one starts from has ended, or is under way for a measurement
        that follows it; without any it starts, to fail with a reason.
        """
        parent = self.ancestor()
        if parent is None:
            return True
        status = parent.status
        return status in FINAL or (status == "running" and follows(self.spec))

    def training(self) -> TrainRun | None:
        """The training that this run goes back to; None when one on the way was deleted."""
        run: Run | None = self
        seen: set[str] = set()  # a folder from elsewhere may name itself as its beginning
        while run is not None and not isinstance(run, TrainRun):
            if run.id in seen:
                return None
            seen.add(run.id)
            run = run.ancestor()
        return run

    def summary(self) -> dict[str, Any]:
        """A run in one object, plain JSON, with its `rows`; what is not known is None. A race has
        no rates: its rows have.
        """
        training = self.training()
        return summary(self.facts, self.source, self.status, training.facts if training else None)

    def rows(self) -> list[Row]:
        """The rows of this run in a table, one per lane; see `rows_of`."""
        rows: list[Row] = self.summary()["rows"]
        return rows

    @property
    def weak(self) -> str | None:
        """Why the model that this run trained or starts from counts as weak; else None."""
        training = self.training()
        return None if training is None else training.facts.weak


def summary(facts: Facts, source: Source, status: Status, training: Facts | None) -> Row:
    """See `Run.summary`. training: the one that the run goes back to."""
    spec, origin = facts.spec, training.spec if training else None
    assert origin is None or isinstance(origin, TrainSpec)
    shared = {
        "id": facts.id,
        "kind": spec.kind,
        "data": origin.data if origin else None,
        "model": origin.model if origin else None,
        "attack": origin.attack.name if origin else None,
        "defense": ", ".join(spec.lane_names()) if isinstance(spec, PurifySpec) else None,
        "measurement": spec.measurement.name if isinstance(spec, MeasureSpec) else None,
        "parent": _starts_from(spec),
        "seed": spec.seed,
        "status": status,
        "source": source,
        "owner": facts.request["owner"],
        "submitted_at": facts.request["submitted_at"] or None,
        "weak": training.weak if training else None,
    }
    rates = facts.rows[0] if len(facts.rows) == 1 else dict.fromkeys(RATES)
    own = {name: rates[name] for name in RATES}
    return {**shared, **own, "rows": [shared | row for row in facts.rows]}


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

    def diverged(self) -> dict[str, int]:
        """Lanes that diverged, and at which step: a finished run has no model of theirs."""
        lanes = (self.result or {}).get("lanes", {})
        return {
            name: lane["diverged"]["step"] for name, lane in lanes.items() if "diverged" in lane
        }

    def sound_lanes(self) -> list[str]:
        """The other lanes, in the order of the specification; one at least."""
        out = self.diverged()
        return [name for name in self.spec.lane_names() if name not in out]


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


@dataclass(frozen=True)
class Look:
    """Every run of a store with its facts, in the order of `Store.runs`, and what is damaged.

    shipped: facts of a run that ships and is not among them, by its name.
    """

    facts: Mapping[Run, Facts]
    damaged: Mapping[str, str]
    shipped: Callable[[str], Facts | None] = field(default=lambda name: None, repr=False)

    @cached_property
    def _by_id(self) -> dict[str, Facts]:
        return {run.id: facts for run, facts in self.facts.items()}

    @cached_property
    def imports(self) -> bool:
        """Whether a model among them was imported, see `ngf.runs.private`; also a damaged one."""
        if any(name.startswith(IMPORTED) for name in self.damaged):
            return True
        return any(_is_imported(facts.spec) for facts in self.facts.values())

    def origin(self, facts: Facts) -> TrainSpec | None:
        """What was asked for of the training that a run goes back to, see `training`."""
        training = self.training(facts)
        return training.spec if training and isinstance(training.spec, TrainSpec) else None

    def training(self, facts: Facts) -> Facts | None:
        """The training that a run goes back to; None when one on the way was deleted."""
        seen: set[str] = set()
        found: Facts | None = facts
        while found is not None and not isinstance(found.spec, TrainSpec):
            parent = parent_id(found.spec)
            if parent is None or parent in seen:
                return None
            seen.add(parent)
            found = self._by_id.get(parent) or self.shipped(parent)
        return found

    def came_of(self, run_id: str) -> list[Run]:
        """The runs that start from this one, or from one that does."""
        names, found = {run_id}, []
        while more := [
            run
            for run, facts in self.facts.items()
            if run.id not in names and parent_id(facts.spec) in names
        ]:
            found += more
            names |= {run.id for run in more}
        return found

    def summary(self, run: Run) -> Row | None:
        """See `Run.summary`; None when it was deleted this moment."""
        facts = self.facts[run]
        try:
            status = facts.ended or run.status
        except SpecError:
            return None
        return summary(facts, run.source, status, self.training(facts))


def open_run(store: Store, path: Path, source: Source = "user", run_id: str = "") -> Run:
    """The run in folder `path`. Raises SpecError when it holds none, or a damaged one."""
    facts = store.facts(path)
    return _RUNS[facts.spec.kind](store, path, source, run_id, facts)


class Store:
    """The runs below `root` (default `NGF_RUNS`, else ./runs) and, read-only, those of `zoo`.

    What else ships is found by its name, but not listed: models of earlier zoos, recorded
    purifications and their measurements. A run of the same name below `root` comes first.
    """

    def __init__(self, root: Path | None = None, zoo: Path | None = None):
        self.root = places.real(root) if root else places.runs_dir()
        self.zoo = places.real(zoo or places.ZOO)
        # What ships beside the zoo, which a zoo of one's own is without.
        self._shipped = (
            (places.EARLIER, places.RECORDINGS, places.MEASUREMENTS) if zoo is None else ()
        )
        self._index = Index(self.root)
        self._elsewhere: dict[Path, Index] = {}  # of the zoo and of recordings, by their folder
        self._told: set[str] = set()  # damaged folders that were logged
        self._kept: tuple[float, float, tuple[int, int], Look] | None = None

    def facts(self, path: Path) -> Facts:
        """What the small files of a run folder say. Raises SpecError."""
        if path.parent == self.root:
            return self._index.facts(path)
        return self._elsewhere.setdefault(path.parent, Index()).facts(path)

    def submit(self, spec: Spec, owner: str = "", sweep: str = "") -> Run:
        """The run of `spec`, made and queued when there is none yet. Identical requests give one
        run. What people ask for comes in through `ngf.runs.submit`, which checks it. A recording or
        measurement that ships does not count: who asks for it wants to see it happen here.

        A failed or cancelled run is queued again; a cancelled one goes on from its checkpoint. No
        checkpoint and no event is deleted (see `_set_aside`).

        sweep: that asks for it; what its owner asks for singly goes first, see `fair_order`.
        Raises SpecError when the names in `spec` cannot name a folder, `DiskFull` when there is no
        space.
        """
        if not _ID.fullmatch(spec.id):
            raise SpecError(f"{spec.id!r} cannot name a run: use letters, digits and hyphens.")
        try:
            run = self._open(spec.id)
        except SpecError as exc:
            raise Damaged(
                f"There is a folder {self.root / spec.id}, which is damaged: {exc} Delete it with "
                f"`ngf delete {spec.id}`, then ask again."
            ) from exc
        if run is None or (run.source == "shipped" and not isinstance(run, TrainRun)):
            self._create(spec, owner, sweep)
            run = open_run(self, self.root / spec.id)
        elif run.source == "user":
            if (status := run.status) in AGAIN:
                self._again(run, owner, sweep)
            elif status == "running" and read_text(run.path / CONTROL) == "cancel":
                run.control("resume")  # asked for again while it was still stopping
            elif status == "queued" and not sweep and run.request["owner"] == owner:
                self._hurry(run)
        self.wake()
        return run

    def _create(self, spec: Spec, owner: str, sweep: str) -> None:
        temporary = None
        now = _now()
        request = {"owner": owner, "sweep": sweep, "submitted_at": now, "queued_at": now}
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=self.root))
            write_atomic(temporary / SPEC, to_json(dict(sorted(spec.to_json().items()))))
            write_atomic(temporary / REQUEST, to_json(request))
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

    def _again(self, run: Run, owner: str, sweep: str) -> None:
        lock = Lock(run.path / LOCK)
        if not lock.acquire():
            return  # it is stopping this very moment, or another process has started it again
        try:
            error = run.error
            if error is not None and error.get("kind") not in _FROM_OUTSIDE:
                _set_aside(run.path)
            request = {**run.request, "owner": owner, "sweep": sweep, "queued_at": _now()}
            write_atomic(run.path / REQUEST, to_json(request))
            (run.path / CRASHES).unlink(missing_ok=True)
            write_atomic(run.path / CONTROL, f"resume {run.attempts}")
            (run.path / ERROR).unlink(missing_ok=True)  # last: from here on it is queued
        finally:
            lock.release()

    def _hurry(self, run: Run) -> None:
        """Take a waiting run out of its sweep: somebody wants it for itself now."""
        if run.request["sweep"]:
            request = {**run.request, "sweep": "", "queued_at": _now()}
            write_atomic(run.path / REQUEST, to_json(request))

    def find(self, run_id: str) -> Run | None:
        """The run named `run_id` (`id:lane` names the run as well), or None; None also for one that
        is damaged.
        """
        with suppress(SpecError):
            return self._open(Target.parse(run_id).run)
        return None

    def get(self, run_id: str) -> Run:
        """The run named `run_id`. Raises `NoSuchRun`, a KeyError that says what runs there are, or
        what is damaged in this one.
        """
        try:
            run = self._open(Target.parse(run_id).run)
        except SpecError as exc:
            raise NoSuchRun(f"The run {run_id!r} in {self.root} is damaged: {exc}") from exc
        if run is None:
            ids = [run.id for run in self.runs()]
            some = ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "") or "none yet"
            raise NoSuchRun(f"There is no run {run_id!r} in {self.root}. Runs: {some}.")
        return run

    def _open(self, name: str) -> Run | None:
        """The run of this name, None when there is none. Raises SpecError for a damaged one."""
        if _ID.fullmatch(name):
            if os.path.lexists(self.zoo / name / SPEC):
                return open_run(self, self.zoo / name, "zoo")
            if os.path.lexists(self.root / name / SPEC):
                return self._own(name)
            for folder in self._shipped:
                if os.path.lexists(folder / name / SPEC):
                    return open_run(self, folder / name, "shipped")
        return None

    def _shipped_facts(self, name: str) -> Facts | None:
        """Facts of a run that ships beside the zoo; None when there is none of this name."""
        paths = (folder / name for folder in self._shipped)
        return next((self.facts(path) for path in paths if os.path.lexists(path / SPEC)), None)

    def _own(self, name: str) -> Run:
        """The run of a visitor in the folder of this name. Raises SpecError."""
        return self._of(name, self.facts(self.root / name))

    def _of(self, name: str, facts: Facts) -> Run:
        if facts.id != name:
            raise Damaged(f"{SPEC} is that of {facts.id}, not of {name}.")
        return _RUNS[facts.spec.kind](self, self.root / name, "user", facts=facts)

    def runs(self) -> list[Run]:
        """All runs: newest first, then the zoo by name. Damaged ones are left out and logged; see
        `Look.damaged`.
        """
        return list(self.look().facts)

    def look(self) -> Look:
        """All runs with their facts, at this moment or a blink ago: a page that asks ten times
        while it is drawn gets one answer.
        """
        seen = self.changed(), self.wake_time()
        if self._kept is not None:
            began, until, saw, look = self._kept
            # a folder may come within the tick of the clock in which another one came
            settled = began - seen[0] / 1e9 > TICK
            if settled and saw == seen and began <= time.time() < until:
                return look
        began, look = time.time(), self._look()
        # good for longer where it took longer, so that a busy machine is not kept busy with it
        until = time.time() + BLINK + 2 * (time.time() - began)
        self._kept = began, until, seen, look
        return look

    def _look(self) -> Look:
        user: list[tuple[str, str, Run, Facts]] = []
        damaged: dict[str, str] = {}
        found = [] if self.root == self.zoo else _entries(self.root)
        for entry in found:
            name = entry.name
            try:
                facts = self._index.facts_at(self.root / name, entry.stat(follow_symlinks=False))
                user.append((facts.request["submitted_at"], name, self._of(name, facts), facts))
            except SpecError as exc:
                if os.path.lexists(self.root / name / SPEC):
                    damaged[name] = str(exc)
            except FileNotFoundError:  # deleted this moment
                continue
        runs = {run: facts for *_, run, facts in sorted(user, key=_newest, reverse=True)}
        for name in sorted(entry.name for entry in _entries(self.zoo)):
            try:
                run = open_run(self, self.zoo / name, "zoo")
                runs[run] = run.facts
            except SpecError as exc:
                damaged[name] = str(exc)
        for name in damaged.keys() - self._told:
            _log.error("%s is left out: %s", name, damaged[name])
        self._told |= damaged.keys()
        self._index.save(entry.name for entry in found)
        return Look(runs, damaged, self._shipped_facts)

    def damaged(self) -> Mapping[str, str]:
        """Name and fault of the folders that are left out because they are damaged."""
        return self.look().damaged

    def trainings(self) -> list[TrainRun]:
        """All trainings, in the order of `runs`."""
        return [run for run in self.look().facts if isinstance(run, TrainRun)]

    def delete(self, run_id: str) -> str:
        """Remove a run, or a damaged folder, and return its name. Raises ValueError for a zoo run,
        a running one, and one that waiting runs need; `NoSuchRun` when there is none.
        """
        look = self._look()
        damaged = look.damaged
        if run_id not in damaged:
            run_id = self.get(run_id).id
        if os.path.lexists(self.zoo / run_id) or (
            run_id not in damaged and self.get(run_id).source != "user"
        ):
            raise ValueError(f"{run_id} ships with the program, which is read-only.")
        waiting = [
            run.id
            for run, facts in look.facts.items()
            if parent_id(facts.spec) == run_id and run.status in UNFINISHED
        ]
        if waiting:
            raise ValueError(
                f"{run_id} is needed by {', '.join(waiting)}: cancel or delete them first."
            )
        path = self.root / run_id
        with suppress(SpecError):
            if Lock.is_held(path / LOCK):
                raise ValueError(f"{run_id} is running: cancel it first.")
        self._delete_imported(run_id, look)
        if run_id in damaged:
            self._remove(path)
            return run_id
        lock = Lock(path / LOCK)
        if not lock.acquire(timeout=0.2):
            raise ValueError(f"{run_id} is running: cancel it first.")
        self._remove(path, lock)
        return run_id

    def _delete_imported(self, run_id: str, look: Look) -> None:
        """Of a model that somebody brought nothing stays: what came of it goes as well, and the
        images, unless another import has the same ones. Of a run that goes back to it, what came of
        that run: alone it would no longer be known whose it is.
        """
        spec = _asked_for(self.root / run_id)
        whole = {facts.id: facts for facts in look.facts.values()}
        facts = whole.get(run_id) or whole.get((spec and parent_id(spec)) or "")
        origin = look.training(facts) if facts else None
        # a damaged import is known by its name
        if not (_is_imported(origin.spec) if origin else run_id.startswith(IMPORTED)):
            return
        came = look.came_of(run_id)
        if moving := [other.id for other in came if other.status in UNFINISHED]:
            raise ValueError(f"{run_id} is needed by {', '.join(moving)}: cancel them first.")
        for other in came:
            self._remove(other.path)
        # a folder from elsewhere may name any other one
        if not (isinstance(spec, TrainSpec) and _CONTENT.fullmatch(spec.content)):
            return
        others = (facts.spec for facts in look.facts.values() if facts.id != run_id)
        if not any(isinstance(one, TrainSpec) and one.content == spec.content for one in others):
            shutil.rmtree(places.imports_dir() / spec.content, ignore_errors=True)

    def _remove(self, path: Path, lock: Lock | None = None) -> None:
        """Remove a run folder; renamed first, so that nobody ever sees half a run."""
        gone = self.root / f".deleted-{path.name}-{time.time_ns()}"
        try:
            os.rename(path, gone)
        finally:
            if lock is not None:
                lock.release()
        if gone.is_symlink():
            gone.unlink()
        else:
            shutil.rmtree(gone)
        self.wake()

    def hides(self, text: str) -> bool:
        """Whether a text names a run that whoever looks may not see; see `ngf.runs.private`."""
        return False

    def queue(self) -> list[Run]:
        """Waiting runs in the order in which they will start: lost ones at once, then owners in
        turn.
        """
        lost, waiting, starts = self._waiting()
        return lost + fair_order(waiting, starts)

    def ahead_of(self, owner: str) -> list[Run]:
        """Waiting runs that would start before one that `owner` asks for now."""
        lost, waiting, starts = self._waiting()
        new = _New({"owner": owner, "sweep": "", "queued_at": _now()})
        both: list[Run | _New] = [*waiting, new]
        order = fair_order(both, starts)
        return lost + [run for run in order[: order.index(new)] if isinstance(run, Run)]

    def _waiting(self) -> tuple[list[Run], list[Run], dict[str, float]]:
        """Lost runs, queued ones, and when each owner's last start was."""
        facts = self.look().facts
        runs = [(run, run.status) for run, about in facts.items() if not about.ended]
        lost, queued = (
            [run for run, is_ in runs if is_ == status] for status in ("lost", "queued")
        )
        return lost, queued, last_starts(f for run, f in facts.items() if run.source == "user")

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

    def changed(self) -> int:
        """When a folder came or went last, in nanoseconds; 0 where there is no store."""
        try:
            return self.root.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    @property
    def supervised(self) -> bool:
        """Whether a supervisor serves this store."""
        return Lock.is_held(self.root / SUPERVISOR)

    def supervisor(self) -> Mapping[str, Any]:
        """What the supervisor of this store tells about itself: see `ngf.runs.here`. Nothing when
        there is none.
        """
        return Lock.about(self.root / SUPERVISOR)


def _is_imported(spec: Spec) -> bool:
    return isinstance(spec, TrainSpec) and bool(spec.imported)


def _asked_for(path: Path) -> Spec | None:
    """What was asked for in a folder that may be damaged; None where that cannot be read."""
    try:
        return spec_of(path)
    except (SpecError, OSError):  # also a folder where a file belongs
        return None


def _set_aside(path: Path) -> None:
    """Move what a failed attempt has left into a folder of its own, so that the run can start anew
    and nothing is lost. Only the user deletes it, with the run.
    """
    number = 1 + sum(1 for _ in path.glob(f"{BEFORE}-*"))
    while (folder := path / f"{BEFORE}-{number}").exists():
        number += 1
    folder.mkdir()
    for name in (STATE, EVENTS):
        with suppress(FileNotFoundError):  # it failed before there was any
            os.rename(path / name, folder / name)
    shutil.copyfile(path / ERROR, folder / ERROR)


def _starts_from(spec: Spec) -> str | None:
    """What a specification names as its beginning: `id`, or `id:lane`."""
    if isinstance(spec, PurifySpec):
        return spec.start.partition("@")[0] or spec.parent
    return spec.target if isinstance(spec, MeasureSpec) else None


def parent_id(spec: Spec) -> str | None:
    """Id of the run whose weights `spec` starts from, without its lane."""
    named = _starts_from(spec)
    return Target.parse(named).run or None if named else None


def follows(spec: Spec) -> bool:
    """Whether a run measures another one along its way, and can do so while that goes on."""
    if not isinstance(spec, MeasureSpec):
        return False
    about = catalogue()["measurements"].get(spec.measurement.name, {})
    return bool(about.get("needs", {}).get("path") == "needed")


class _Waits(Protocol):
    """What has a place in the queue; see `Run`."""

    @property
    def id(self) -> str: ...
    @property
    def request(self) -> Mapping[str, str]: ...


_Waiter = TypeVar("_Waiter", bound=_Waits)


@dataclass(frozen=True)
class _New:
    """A run that nobody has asked for yet."""

    request: Mapping[str, str]
    id: str = ""


def fair_order(queued: Iterable[_Waiter], starts: Mapping[str, float]) -> list[_Waiter]:
    """Queued runs in the order in which they start: owners take turns; within an owner those of
    sweeps come last, as a sweep may take days, and then first come first.

    starts: when each owner's last start was; who has waited longest since then is next.
    """
    lines: dict[str, list[_Waiter]] = {}
    for run in sorted(queued, key=_place):
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


def _place(run: _Waits) -> tuple[bool, str, str]:
    return bool(run.request["sweep"]), run.request["queued_at"], run.id


def last_starts(runs: Iterable[Facts]) -> dict[str, float]:
    """When each owner's last start was, in seconds since 1970."""
    starts: dict[str, float] = {}
    for facts in runs:
        owner = facts.request["owner"]
        starts[owner] = max(starts.get(owner, 0.0), facts.started)
    return starts


def _newest(about: tuple[str, str, Run, Facts]) -> tuple[str, str]:
    return about[:2]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Entries of `folder` with a name that a run may have; none where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if _ID.fullmatch(entry.name)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
