"""Reads the folders of measurement runs: what they have found so far, under which version,
for which model.
"""

from __future__ import annotations

import functools
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dashboard.charts.subject import BACKDOORED, BENIGN, Measured, Subject
from ngf.config import Target
from ngf.options import SpecError
from ngf.runs.folder import ARRAYS, FINAL
from ngf.runs.store import MeasureRun, PurifyRun, Run, Store, TrainRun


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
    result = run.result
    if result is not None:
        return Reading(run, result.get("values", {}), arrays(run), not result.get("complete", True))
    found = [event for event in run.outline() if event["type"] == "partial"]
    return Reading(run, found[-1], arrays(run), run.status in FINAL) if found else None


def arrays(run: Run) -> dict[str, np.ndarray]:
    """Those that the run has written so far."""
    path = run.path / ARRAYS
    try:
        return _load(str(path), path.stat().st_mtime_ns)
    except (FileNotFoundError, zipfile.BadZipFile):  # not there yet, or deleted just now
        return {}


@functools.lru_cache(maxsize=200)
def _load(path: str, changed: int) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def written(run: Run) -> int:
    """When the arrays were written last, in nanoseconds; they follow the event by a moment."""
    try:
        return (run.path / ARRAYS).stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return 0


def subject(store: Store, target: str) -> Subject:
    """Who is measured by a run with this target (`id` or `id:lane`)."""
    named = Target.parse(target)
    run = store.find(named.run)
    if isinstance(run, PurifyRun):
        return Subject("purified", named.lane or run.spec.lane_names()[0])
    if named.lane:  # of a run that is gone
        return Subject("purified", named.lane)
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
