"""The numbers of a run for tables outside of the window: those of its result, and those so far of a
run that has none. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ngf.catalogue import catalogue
from ngf.config import MeasureSpec, PurifySpec
from ngf.runs.rows import RATES
from ngf.runs.store import Run

BEFORE = "Before"


@dataclass(frozen=True)
class Rates:
    """CA, ASR and RA of one model, with `ca_interval`... and counts as far as they are known.

    name: `Before`, `After NGF (natural gradient)`, or the model's.
    final: measured on the whole test set, and not on the part that curves are measured on.
    """

    name: str
    numbers: Mapping[str, Any]
    final: bool = True


def outcome(run: Run) -> list[Rates]:
    """The rates before and after each lane of a purification, or those of a training."""
    spec, result = run.spec, run.result
    if isinstance(spec, MeasureSpec):
        return []
    if not isinstance(spec, PurifySpec):
        if result is not None:
            return [Rates("Model", result)]
        return _so_far(run, {"": "Model"})
    names = {lane: f"After {_title(spec, lane)}" for lane in spec.lane_names()}
    if result is None:
        return _so_far(run, names)
    found = [Rates(BEFORE, result["before"])]
    for lane, name in names.items():
        about = result["lanes"].get(lane, {})
        if ended := about.get("diverged"):
            name = f"{name}, diverged at step {ended['step']}"
        found.append(Rates(name, about.get("after") or {}))
    return found


def values_so_far(run: Run) -> dict[str, Any]:
    """What a measurement has found: of its result, else of its last partial one."""
    result = run.result
    if result is not None:
        return dict(result.get("values") or {})
    found = [event for event in run.outline(5.0) if event["type"] == "partial"]
    hidden = ("seq", "type", "t", "fraction", "done")
    return {key: value for key, value in (found[-1] if found else {}).items() if key not in hidden}


def _so_far(run: Run, names: Mapping[str, str]) -> list[Rates]:
    """Of the last steps with rates, lane by lane; the first step is that before."""
    first: dict[str, Any] = {}
    last: dict[str, dict[str, Any]] = {}
    for event in run.outline(5.0):
        if event["type"] not in ("step", "epoch") or event.get("ca") is None:
            continue
        rates = {name: event.get(name) for name in RATES} | {"step": event["step"]}
        if event["step"] == 0:
            first = first or rates
        else:
            last[event.get("lane", "")] = rates
    found = [Rates(BEFORE, first, final=False)] if first else []
    for lane, name in names.items():
        if lane in last:
            found.append(Rates(f"{name}, step {last[lane]['step']}", last[lane], final=False))
    return found


def _title(spec: PurifySpec, lane: str) -> str:
    choice = spec.lanes[spec.lane_names().index(lane)]
    title = str(catalogue()["defenses"].get(choice.name, {}).get("short") or choice.name)
    number = lane.rpartition("-")[2]
    return f"{title} ({number})" if lane != choice.name and number.isdigit() else title
