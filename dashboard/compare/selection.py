"""What is ticked, as the address holds it: `run` for all lanes of a run, `run:lane` for one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dashboard.charts.titles import lane_title
from dashboard.compare.lanes import MOST, Lane
from dashboard.kit import library, url
from ngf.config import Target
from ngf.runs.store import MeasureRun, PurifyRun

NOTHING = "none"  # in an address, when everything was unticked


def read(texts: Sequence[str], known: Mapping[str, Lane]) -> tuple[list[str], list[str]]:
    """Targets among `known`, and a sentence about each name that gives none; what is beyond the
    limit is told, too.
    """
    found: dict[str, None] = {}
    ignored: list[str] = []
    for name in dict.fromkeys(filter(None, (part.strip() for part in ",".join(texts).split(",")))):
        if name == NOTHING:
            continue
        targets = _targets(name, known)
        found |= dict.fromkeys(targets)
        if not targets:
            ignored.append(_why_not(name, known))
    if len(found) > MOST:
        ignored.append(too_many(len(found)))
    return list(found)[:MOST], ignored


def write(targets: Sequence[str], known: Mapping[str, Lane]) -> str:
    """What `read` makes the same targets of: a run whose lanes are all ticked in their order is
    named once.
    """
    if not targets:
        return NOTHING
    parts: list[str] = []
    left = list(targets)
    while left:
        run = Target.parse(left[0]).run
        whole = _targets(run, known)
        if whole and left[: len(whole)] == whole:
            parts.append(run)
            left = left[len(whole) :]
        else:
            parts.append(left.pop(0))
    return ",".join(parts)


def too_many(count: int) -> str:
    return (
        f"{count} models are ticked, and {MOST} can be compared at once: the first {MOST} are "
        "shown. Untick some, or compare the rest in another tab."
    )


def _targets(name: str, known: Mapping[str, Lane]) -> list[str]:
    """Those that a name means."""
    if name in known:
        return [name]
    return [target for target, lane in known.items() if lane.run.id == name]


def _why_not(name: str, known: Mapping[str, Lane]) -> str:
    """Why a name of the address gives nothing, and what would."""
    shown = url.short(name)
    of = Target.parse(name)
    if why := library.store().damaged().get(of.run):
        return f"run “{shown}” is damaged and left out: {why}"
    run = library.find(of.run)
    if run is None:
        return f"run “{shown}” is not in this store: it was deleted, or is of another machine."
    if isinstance(run, MeasureRun):
        return (
            f"run “{shown}” is a measurement. What can be compared is its model: {run.spec.target}."
        )
    if run.status != "done":
        return (
            f"run “{shown}” is not finished ({library.STATES[run.status].lower()}); it can be "
            "compared as soon as it is."
        )
    lanes = ", ".join(
        f"{lane.lane} ({lane_title(lane.lane)})"
        for lane in known.values()
        if lane.run.id == run.id and lane.lane
    )
    if isinstance(run, PurifyRun):
        return f"run “{shown}”: there is no such lane. Allowed: {lanes}."
    return f"run “{shown}”: a training has no lanes; {run.id} names its model."
