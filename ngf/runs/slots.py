"""Which runs wait for which: each slot has a queue of its own and processes of its own."""

from __future__ import annotations

import os
from typing import Any, Literal

from ngf.catalogue import catalogue
from ngf.config import MeasureSpec, Spec
from ngf.runs.store import follows

# What follows another run while it goes on: a process for each of two lanes, with one thread and
# the lowest claim on a busy core. Together they work for a third of the time of all at most.
FOLLOWERS = 2
NICE = 19
_SHARE = 1 / 3

Slot = Literal["heavy", "light", "brief", "live"]


def slot_of(spec: Spec) -> Slot:
    """`heavy` is a training or a purification. Measurements are `light`, so that they need not wait
    for one; `brief`, where somebody waits for them with the page open; or `live`: those that follow
    a run along its way take as long as it does.
    """
    if not isinstance(spec, MeasureSpec):
        return "heavy"
    if follows(spec):
        return "live"
    return "brief" if _is_brief(spec) else "light"


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def share_of_time(count: int) -> float:
    """The share of its time that a process of the slot `live` works while the run goes on, with so
    many cores.
    """
    return min(1.0, _SHARE * count / FOLLOWERS)


def _is_brief(spec: MeasureSpec) -> bool:
    about: dict[str, Any] = catalogue()["measurements"].get(spec.measurement.name, {})
    return bool(about.get("needs", {}).get("brief"))
