"""A sweep on disk: one JSON file in the store that says what was asked for and names its runs. How
far it is, the runs themselves say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from ngf.options import SpecError
from ngf.runs.facts import Facts
from ngf.runs.files import read_json, read_text, to_json, write_atomic
from ngf.runs.folder import FINAL, RESULT, Status
from ngf.runs.rows import Row
from ngf.runs.store import Look, Run, Store
from ngf.sweeps.spec import Expansion, SweepSpec

FOLDER = ".sweeps"  # in the store; no run can have this name
STATES = ("done", "running", "queued", "paused", "lost", "failed", "cancelled", "missing")


@dataclass(frozen=True)
class Sweep:
    """What is kept of a sweep. points: values by axis and the run of each; runs: all names, what
    others start from first; refused: values and the reason.
    """

    spec: SweepSpec
    points: tuple[tuple[Mapping[str, Any], str], ...]
    runs: tuple[str, ...]
    refused: tuple[tuple[Mapping[str, Any], str], ...] = ()

    @property
    def id(self) -> str:
        return self.spec.id

    def reasons(self) -> dict[str, list[Mapping[str, Any]]]:
        """Why combinations were refused -> their values."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        for values, why in self.refused:
            found.setdefault(why, []).append(values)
        return found

    def seen(self, store: Store) -> Seen:
        """Its runs at this moment, for one look at the store."""
        look = store.look()
        known = {run.id: (run, facts) for run, facts in look.facts.items()}
        runs = {run_id: _state(store, run_id, known.get(run_id)) for run_id in self.runs}
        return Seen(self, runs, look)


@dataclass(frozen=True)
class State:
    """A run with what its folder said, and its status."""

    run: Run
    facts: Facts
    status: Status


@dataclass(frozen=True)
class Seen:
    """The runs of a sweep at one moment, in their order; None where there is none yet."""

    sweep: Sweep
    runs: Mapping[str, State | None]
    look: Look = field(repr=False)

    def statuses(self) -> dict[str, str]:
        """The state of each run, by name."""
        return {run_id: _status(state) for run_id, state in self.runs.items()}

    def states(self) -> Counter[str]:
        """How many runs are in which state."""
        return Counter(self.statuses().values())

    def unfinished(self) -> list[str]:
        """Names of the runs that are not done."""
        return [run_id for run_id, state in self.runs.items() if _status(state) != "done"]

    def rows(self) -> list[Row]:
        """One per combination and lane: its values by axis, the run, its state, what was measured.

        ca, asr, ra, der: shares of the model that came out; ca_lost: what of the clean accuracy a
            purification has cost. seconds: of work. diverged: at which step. readings: the numbers
            that a measurement has found, by name.
        """
        rows = []
        for values, run_id in self.sweep.points:
            state = self.runs[run_id]
            about = {"values": dict(values), "run": run_id, "status": _status(state)}
            rows += [about | row for row in _rows(state)]
        return rows

    def failures(self) -> dict[str, str]:
        """Run -> why it failed."""
        failed = [state.run for state in self.runs.values() if _status(state) == "failed" and state]
        return {run.id: str((run.error or {}).get("message", "unknown")) for run in failed}


def _status(state: State | None) -> str:
    return "missing" if state is None else state.status


def _state(store: Store, name: str, known: tuple[Run, Facts] | None) -> State | None:
    """known: what a look has found, a blink ago; without it the run is none, or one that ships."""
    try:
        if known is None:
            found = store.find(name)
            return None if found is None else State(found, found.facts, found.status)
        run, facts = known
        status = facts.ended or run.status
        return State(run, facts if facts.ended or status not in FINAL else run.facts, status)
    except SpecError:  # deleted or damaged this moment
        return None


def _rows(state: State | None) -> list[Row]:
    rows = state.facts.rows if state else ()
    if not rows:
        return [_row({}, None, {})]
    assert state is not None
    found = _found(state.run.path / RESULT) if state.facts.ended == "done" else _NOTHING
    return [_row(row, found.ca, found.readings) for row in rows]


def _row(row: Mapping[str, Any], before: float | None, readings: Mapping[str, float]) -> Row:
    ca, diverged = row.get("ca"), row.get("diverged")
    return {
        **{name: row.get(name) for name in ("lane", "ca", "asr", "ra", "der", "seconds")},
        "ca_lost": None if ca is None or before is None else before - ca,
        "diverged": diverged and diverged["step"],
        "readings": dict(readings),
    }


@dataclass(frozen=True)
class _Found:
    """What of a result no fact tells. ca: before a purification."""

    ca: float | None = None
    readings: Mapping[str, float] = field(default_factory=dict)


_NOTHING = _Found()


def _found(path: Path) -> _Found:
    try:
        return _read(path, path.stat().st_mtime_ns)
    except (SpecError, FileNotFoundError):  # damaged or deleted this moment
        return _NOTHING


@lru_cache(maxsize=20_000)
def _read(path: Path, changed: int) -> _Found:
    """changed: when the file was written, in nanoseconds: then it is read anew."""
    result = read_json(path) or {}
    values = result.get("values") or {}
    readings = {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    return _Found((result.get("before") or {}).get("ca"), readings)


def made(spec: SweepSpec, expansion: Expansion) -> Sweep:
    return Sweep(
        spec,
        tuple((point.values, point.spec.id) for point in expansion.points),
        tuple(expansion.specs()),
        tuple((one.values, one.why) for one in expansion.refused),
    )


def path_of(store: Store, sweep_id: str) -> Path:
    return store.root / FOLDER / f"{sweep_id}.json"


def keep(store: Store, sweep: Sweep) -> None:
    """Write it down; the same sweep again replaces itself."""
    path = path_of(store, sweep.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "spec": sweep.spec.to_json(),
        "points": [{"values": dict(values), "run": run} for values, run in sweep.points],
        "runs": list(sweep.runs),
        "refused": [{"values": dict(values), "why": why} for values, why in sweep.refused],
    }
    write_atomic(path, to_json(document))


def load(store: Store, sweep_id: str) -> Sweep:
    """Raises SpecError when there is none of this name, or a damaged one."""
    if sweep_id not in (known := names(store)):
        raise SpecError(
            f"There is no sweep {sweep_id!r} in {store.root}. Sweeps: {', '.join(known) or 'none'}."
        )
    document = read_json(path_of(store, sweep_id))
    try:
        return Sweep(
            SweepSpec.from_json(document["spec"]),
            tuple((dict(one["values"]), str(one["run"])) for one in document["points"]),
            tuple(map(str, document["runs"])),
            tuple((dict(one["values"]), str(one["why"])) for one in document["refused"]),
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise SpecError(f"{path_of(store, sweep_id)} is damaged: {exc!r}.") from exc


def names(store: Store) -> list[str]:
    """Those that there are, newest first, but for those of runs that are hidden."""
    paths = (store.root / FOLDER).glob("sweep-*.json")
    ordered = sorted(paths, key=lambda p: p.stat().st_mtime, reverse=True)
    return [path.stem for path in ordered if not store.hides(_text(path))]


def _text(path: Path) -> str:
    try:
        return read_text(path) or ""
    except SpecError:  # damaged
        return ""
