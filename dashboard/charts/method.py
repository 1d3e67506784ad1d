"""Methods of the tables of evidence, such as `sgd, one layer`: what they are called, how drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dashboard.charts.style import Mark, lane_marks
from dashboard.charts.subject import BACKDOORED
from dashboard.charts.titles import lane_title

BEFORE = "before"
_LANES = {"gradient": "gradient_kl"}  # what a method's first word is among the defenses
_OPEN = "all layers"  # drawn hollow, to tell it from one layer by the same defense


def lane_of(method: str) -> str:
    """The defense of a method: `gradient, all layers` is by `gradient_kl`."""
    kind = method.partition(",")[0].replace(" ", "_")
    return _LANES.get(kind, kind)


def method_title(method: str) -> str:
    """`NGF, one layer`; a model that was not purified is `Backdoored`."""
    if method == BEFORE:
        return BACKDOORED.title
    _, comma, what = method.partition(",")
    return f"{lane_title(lane_of(method))}{comma}{what}"


def method_marks(methods: Sequence[str]) -> dict[str, Mark]:
    """Color and shape of the defense; hollow where it tunes all layers and a method of the same
    defense does not. A third method of a defense is told by its name alone.
    """
    lanes = list(dict.fromkeys(lane_of(method) for method in methods if method != BEFORE))
    marks = lane_marks(lanes)
    return {method: _mark(method, methods, marks) for method in methods}


def _mark(method: str, methods: Sequence[str], marks: dict[str, Mark]) -> Mark:
    if method == BEFORE:
        return BACKDOORED.mark
    mark = marks[lane_of(method)]
    alike = [other for other in methods if lane_of(other) == lane_of(method)]
    if len(alike) > 1 and method.endswith(_OPEN):
        return replace(mark, symbol=f"{mark.symbol}-open")
    return mark
