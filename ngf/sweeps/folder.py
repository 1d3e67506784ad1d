"""A sweep on disk: one JSON file in the store that says what was asked for and names its runs. How
far it is, the runs themselves say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ngf.options import SpecError
from ngf.runs.files import read_json, to_json, write_atomic
from ngf.runs.store import Run, Store
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

    def states(self, store: Store) -> Counter[str]:
        """How many runs are in which state."""
        return Counter(run.status if run else "missing" for run in self._found(store, self.runs))

    def unfinished(self, store: Store) -> list[str]:
        """Names of the runs that are not done."""
        found = zip(self.runs, self._found(store, self.runs), strict=True)
        return [run_id for run_id, run in found if run is None or run.status != "done"]

    def rows(self, store: Store) -> list[dict[str, Any]]:
        """One per combination and lane: its values by axis, the run, its state and rates."""
        rows = []
        found = self._found(store, [run_id for _, run_id in self.points])
        for (values, run_id), run in zip(self.points, found, strict=True):
            lanes = [{}] if run is None else run.summary()["rows"] or [{}]
            for lane in lanes:
                about = {name: lane.get(name) for name in ("lane", "ca", "asr", "ra")}
                status = run.status if run else "missing"
                rows.append({"values": dict(values), "run": run_id, "status": status, **about})
        return rows

    def failures(self, store: Store) -> dict[str, str]:
        """Run -> why it failed."""
        return {
            run.id: str((run.error or {}).get("message", "unknown"))
            for run in self._found(store, self.runs)
            if run is not None and run.status == "failed"
        }

    @staticmethod
    def _found(store: Store, ids: Iterable[str]) -> list[Run | None]:
        return [store.find(run_id) for run_id in ids]


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
            tuple((one["values"], one["run"]) for one in document["points"]),
            tuple(document["runs"]),
            tuple((one["values"], one["why"]) for one in document["refused"]),
        )
    except (KeyError, TypeError) as exc:
        raise SpecError(f"{path_of(store, sweep_id)} is damaged: {exc!r} is missing.") from exc


def names(store: Store) -> list[str]:
    """Those that there are, newest first."""
    paths = (store.root / FOLDER).glob("sweep-*.json")
    return [path.stem for path in sorted(paths, key=lambda p: p.stat().st_mtime, reverse=True)]
