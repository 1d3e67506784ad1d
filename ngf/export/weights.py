"""Which weights a run has left, and where they lie. No torch."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ngf.options import SpecError
from ngf.runs.folder import WEIGHTS, purified_weights
from ngf.runs.store import PurifyRun, Run, TrainRun


def weights_of(run: Run, lane: str = "") -> Path:
    """The weights that a run has left. Raises SpecError with what there is."""
    if isinstance(run, PurifyRun):
        path = run.path / purified_weights(run.spec.lane_name(lane))
    elif isinstance(run, TrainRun) and not lane:
        path = run.path / WEIGHTS
    else:
        raise SpecError(f"{run.id} has no weights: it is a {run.kind} run, or has no lanes.")
    if not path.exists():
        there = [found.name for found in sorted(run.path.glob("*.safetensors"))]
        raise SpecError(
            f"{run.id} has left no {path.name}: it is {run.status}. "
            f"There {'is ' + ', '.join(there) if there else 'are no weights yet'}."
        )
    return path


def lanes_with_weights(run: Run) -> list[str]:
    """Lanes of a purification that have left weights, and `""` for the model of a training."""
    names = run.spec.lane_names() if isinstance(run, PurifyRun) else ("",)
    found = []
    for name in names:
        with suppress(SpecError):
            weights_of(run, name)
            found.append(name)
    return found
