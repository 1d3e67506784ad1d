"""How long a sweep takes: before it starts, the sum over what was timed on this machine; while it
runs, what its own runs took.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from statistics import median

from ngf.catalogue import catalogue
from ngf.config import MeasureSpec, Spec, TrainSpec
from ngf.runs.folder import RESULT, UNFINISHED
from ngf.runs.store import Store, TrainRun
from ngf.sweeps.folder import Seen, State
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
        return "How long that takes is not known here yet: `ngf calibrate` times single steps."
    told = f"About {_length(seconds)} one after another"
    return (
        f"{told}; {unknown:,} of {count:,} runs were never timed here." if unknown else f"{told}."
    )


def seconds_left(seen: Seen) -> tuple[float | None, int]:
    """Seconds until nothing more happens, by the median of what runs of each kind took; None where
    none has ended. And how many that wait are of a kind of which none has.

    As many are taken to run at a time as run now, or have run on average.
    """
    states = [state for state in seen.runs.values() if state is not None]
    spans = [(state.run.kind, span) for state in states if (span := _span(state)) is not None]
    waiting = [state for state in states if state.status in UNFINISHED and state.status != "paused"]
    took = {
        kind: median(end - start for which, (start, end) in spans if which == kind)
        for kind in {kind for kind, _ in spans}
    }
    known = [state for state in waiting if state.run.kind in took]
    if not spans or not known:
        return None, len(waiting)
    starts, ends = zip(*(span for _, span in spans), strict=True)
    work = sum(end - start for _, (start, end) in spans)
    at_once = max(
        1.0,
        sum(state.status == "running" for state in waiting),
        work / max(work / len(spans), max(ends) - min(starts)),
    )
    left = sum(max(0.0, took[state.run.kind] - _done_of(state)) for state in known)
    return left / at_once, len(waiting) - len(known)


def _span(state: State) -> tuple[float, float] | None:
    """When a run started and ended, of one that was made here without a break."""
    facts, run = state.facts, state.run
    if facts.ended != "done" or run.source != "user" or facts.attempts != 1:
        return None
    try:
        ended = (run.path / RESULT).stat().st_mtime
    except FileNotFoundError:  # deleted this moment
        return None
    return facts.started, max(ended, facts.started)


def _done_of(state: State) -> float:
    """For how long a run has been running, in seconds."""
    return max(0.0, time.time() - state.facts.started) if state.status == "running" else 0.0


def left_in_words(seen: Seen) -> str:
    """`About 12 min left; 3 runs are of a kind of which none has ended yet.` Empty where nothing
    more happens by itself, or nothing has ended.
    """
    seconds, unknown = seconds_left(seen)
    if seconds is None:
        return ""
    more = "1 run is" if unknown == 1 else f"{unknown:,} runs are"
    return f"About {_length(seconds)} left" + (
        f"; {more} of a kind of which none has ended yet." if unknown else "."
    )


def _length(seconds: float) -> str:
    if seconds >= 2 * _HOUR:
        return f"{seconds / _HOUR:,.0f} h"
    if seconds >= 2 * _MINUTE:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{max(1.0, seconds):.0f} s"
