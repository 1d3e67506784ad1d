"""How long a sweep takes, before it starts: the sum over what was timed on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ngf.catalogue import catalogue
from ngf.config import MeasureSpec, Spec, TrainSpec
from ngf.runs.store import Store, TrainRun
from ngf.timing.estimate import time_of

_HOUR, _MINUTE = 3600.0, 60.0


def seconds_of(specs: Mapping[str, Spec], wanted: Iterable[str], store: Store) -> tuple[float, int]:
    """Seconds of the runs `wanted`, one after another, as far as their steps were timed here; and
    how many were not. `specs` holds them and what they start from.
    """
    total, unknown = 0.0, 0
    for run_id in wanted:
        spec = specs[run_id]
        found = None
        if not isinstance(spec, MeasureSpec):
            training = spec if isinstance(spec, TrainSpec) else _training(specs, spec.parent, store)
            if training is not None:
                about = catalogue()["data"].get(training.data, {})
                found = time_of(spec, training.model, about)
        total += found or 0.0
        unknown += found is None
    return total, unknown


def _training(specs: Mapping[str, Spec], name: str, store: Store) -> TrainSpec | None:
    known = specs.get(name)
    if isinstance(known, TrainSpec):
        return known
    run = store.find(name)
    return run.spec if isinstance(run, TrainRun) else None


def in_words(seconds: float, unknown: int, count: int) -> str:
    """`About 2 h one after another; 12 of 40 runs were never timed here.`"""
    if unknown == count:
        return "How long that takes is not known here: `ngf calibrate` times single steps."
    told = f"About {_length(seconds)} one after another"
    return (
        f"{told}; {unknown:,} of {count:,} runs were never timed here." if unknown else f"{told}."
    )


def _length(seconds: float) -> str:
    if seconds >= 2 * _HOUR:
        return f"{seconds / _HOUR:,.0f} h"
    if seconds >= 2 * _MINUTE:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{max(1.0, seconds):.0f} s"
