"""What is done to all runs of a sweep: put into the queue, paused, cancelled. Each is an ordinary
run and takes the same commands alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ngf.config import Spec
from ngf.runs.folder import ACTIVE, OPEN
from ngf.runs.store import Run, Store

MANY = 1000  # runs from which on one is asked twice


def submit_all(
    specs: Mapping[str, Spec],
    store: Store,
    sweep: str,
    *,
    owner: str = "",
    may: Callable[[Run], bool] = lambda run: True,
    tell: Callable[[int], object] = lambda count: None,
) -> None:
    """Put into the queue what has not ended; what is done stays as it is, what failed is tried
    again.

    specs: by name, what others start from first; see `Expansion.specs`.
    sweep: name of the sweep that asks.
    owner: who asks, as in `Store.submit`; may: whether they may let a paused run go on.
    tell: called with how many have been looked at.
    """
    for count, (run_id, spec) in enumerate(specs.items(), start=1):
        known = store.find(run_id)
        if known is None or known.status != "done":
            run = store.submit(spec, owner, sweep)
            if run.facts.command == "pause" and may(run):  # also one that has not noticed it yet
                run.control("resume")
        tell(count)


def pause(runs: Iterable[Run]) -> int:
    """Pause what waits or runs. Returns how many these were."""
    return _command([run for run in runs if run.status in ACTIVE], "pause")


def cancel(runs: Iterable[Run]) -> int:
    """Cancel what has not ended; it can be asked for again. Returns how many these were."""
    return _command([run for run in runs if run.status in OPEN], "cancel")


def _command(runs: list[Run], word: str) -> int:
    for run in reversed(runs):  # what waits first, so that nothing starts in place of what stops
        run.control(word)
    return len(runs)
