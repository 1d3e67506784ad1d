"""Reads the folders of measurement runs: what they have found so far, under which version,
for which model.
"""

from __future__ import annotations

import functools
import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dashboard.charts.subject import BACKDOORED, BENIGN, IMPORTED, Measured, Subject
from ngf.config import Target
from ngf.options import SpecError
from ngf.runs.files import Damaged, read_bytes, read_json
from ngf.runs.folder import ARRAYS, FINAL, RESULT
from ngf.runs.store import MeasureRun, PurifyRun, Run, Store, TrainRun

# What numpy raises for an archive that is cut short, or none at all.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, OSError, Damaged)


@dataclass(frozen=True)
class Reading:
    """What a measurement run has to say so far; `partial` if it ended before it was complete."""

    run: MeasureRun
    values: dict[str, Any]
    arrays: dict[str, np.ndarray]
    partial: bool = False

    @property
    def measured(self) -> Measured:
        return Measured(subject(self.run.store, self.run.spec.target), self.values, self.arrays)


def read(run: MeasureRun | None) -> Reading | None:
    """Values and arrays so far: from the result when there is one, else from the last partial
    event.
    """
    if run is None:
        return None
    try:
        result = run.result
    except Damaged:
        return None
    if result is not None:
        return Reading(run, result.get("values", {}), arrays(run), not result.get("complete", True))
    found = [event for event in run.outline() if event["type"] == "partial"]
    return Reading(run, found[-1], arrays(run), run.status in FINAL) if found else None


def arrays(run: Run) -> dict[str, np.ndarray]:
    """Those that the run has written so far."""
    path = run.path / ARRAYS
    try:
        return _load(str(path), path.stat().st_mtime_ns)
    except (FileNotFoundError, *_UNREADABLE):  # not there yet, or deleted just now
        return {}


def damage(run: MeasureRun) -> str:
    """What is wrong with the files of a run that is over, as a sentence; empty if nothing is."""
    return _damage(run.path, *(_version(run.path / name) for name in (RESULT, ARRAYS)))


@functools.lru_cache(maxsize=1000)
def _damage(folder: Path, *versions: int) -> str:
    try:
        result = read_json(folder / RESULT)
    except Damaged as exc:
        return str(exc)
    if not isinstance(result, dict) or not isinstance(result.get("values"), dict):
        return f"{RESULT} is missing." if result is None else f"{RESULT} holds no values."
    try:
        _load(str(folder / ARRAYS), versions[-1])
    except FileNotFoundError:
        return ""  # not every measurement has arrays
    except _UNREADABLE as exc:
        return f"{ARRAYS} cannot be read: {exc}."
    return ""


def _version(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


@functools.lru_cache(maxsize=200)
def _load(path: str, changed: int) -> dict[str, np.ndarray]:
    raw = read_bytes(Path(path))
    if raw is None:
        raise FileNotFoundError(path)
    with io.BytesIO(raw) as file, np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def written(run: Run) -> int:
    """When the arrays were written last, in nanoseconds; they follow the event by a moment."""
    return _version(run.path / ARRAYS)


def subject(store: Store, target: str) -> Subject:
    """Who is measured by a run with this target (`id` or `id:lane`)."""
    named = Target.parse(target)
    run = store.find(named.run)
    if isinstance(run, PurifyRun):
        return Subject("purified", named.lane or run.spec.lane_names()[0])
    if named.lane:  # of a run that is gone
        return Subject("purified", named.lane)
    if isinstance(run, TrainRun) and run.spec.imported:
        return IMPORTED
    benign = isinstance(run, TrainRun) and run.spec.attack.name == "none"
    return BENIGN if benign else BACKDOORED


def findings(runs: Sequence[MeasureRun]) -> list[Measured]:
    """What each run has found so far, in order; nothing yet is empty. A run deleted just now
    counts as empty, whoever it was of.
    """
    found = []
    for run in runs:
        try:
            reading = read(run)
            found.append(
                reading.measured
                if reading
                else Measured(subject(run.store, run.spec.target), {}, {})
            )
        except (SpecError, FileNotFoundError):
            found.append(Measured(BACKDOORED, {}, {}))
    return found
