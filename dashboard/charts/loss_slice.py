"""The loss along a walk away from a model, in random directions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from analysis import image_kinds
from analysis.distances import FILTER_LENGTH, LENGTH
from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import (
    DASHES,
    IMAGES,
    Mark,
    Trace,
    band,
    base_layout,
    escape,
    line,
    number,
)
from dashboard.charts.subject import Measured, Subject

_MANY = 11  # beyond so many points the markers are small


@dataclass(frozen=True)
class Walk:
    """The mean loss along a line through the weights; a band runs from `low` to `high`.

    images: name of one of `analysis.image_kinds.KINDS`, or empty where nobody knows.
    curvature: the eigenvalue of the direction, where it is an eigenvector's.
    unit: of the distance.
    """

    subject: Subject
    images: str
    distance: Sequence[float]
    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    curvature: float | None = None
    unit: str = ""

    @property
    def mark(self) -> Mark:
        """That of the images."""
        return IMAGES.get(self.images, IMAGES["clean"])

    def at(self, distance: float) -> float:
        """The distance among those measured that is nearest."""
        return min(self.distance, key=lambda x: abs(x - distance))

    def rows(self) -> list[dict[str, float]]:
        """For a table."""
        columns = zip(self.distance, self.mean, self.low, self.high, strict=True)
        return [
            {"Distance": x, "Loss": mean, "Lowest": low, "Highest": high}
            for x, mean, low, high in columns
        ]

    def traces(self, name: str, color: str, dash: str = "") -> list[Trace]:
        """The band, if it has any width, and the line; without a `dash`, that of the images."""
        curve = line(
            name,
            self.distance,
            self.mean,
            color,
            dash=dash or self.mark.dash,
            symbol=self.mark.symbol,
            size=5 if len(self.distance) > _MANY else 7,
            hovertemplate=f"loss %{{y:.3g}} at %{{x:.3g}}<extra>{escape(name)}</extra>",
        )
        if self.high == self.low:
            return [curve]
        spread = band(self.distance, self.low, self.high, color, name=f"{escape(name)}, band")
        return [spread, curve]


def slices(found: Sequence[Measured]) -> list[Walk]:
    """What `loss_slice` has found; no distances where it has found nothing yet."""
    return [_walk(item) for item in found]


def _walk(item: Measured) -> Walk:
    distance, mean, low, high = (
        item.arrays[key].tolist() if "distance" in item.arrays else []
        for key in ("distance", "mean", "low", "high")
    )
    return Walk(
        item.subject,
        item.values.get("data") or "",
        distance,
        mean,
        low,
        high,
        curvature=float(item.arrays["eigenvalues"][0]) if _one_way(item) else None,
        unit=_unit(item),
    )


def _one_way(item: Measured) -> bool:
    return len(item.arrays.get("eigenvalues", ())) == 1


def _unit(item: Measured) -> str:
    """What the axis names: not those of random directions and of rises, which need a sentence."""
    return str(item.values["unit"]) if item.values.get("unit") in (LENGTH, FILTER_LENGTH) else ""


def slice_chart(walks: Sequence[Walk]) -> Chart:
    """The model gives the color and the images the dash; on the same images it tells models of one
    color apart.
    """
    walks = [walk for walk in walks if walk.distance]
    several = len({walk.images for walk in walks}) > 1
    dashes: dict[str, Iterator[str]] = defaultdict(lambda: cycle(DASHES))  # by color
    traces: list[Trace] = []
    for walk in walks:
        color = walk.subject.mark.color
        dash = "" if several else next(dashes[color])
        traces += walk.traces(_name(walk, several), color, dash)
    layout = base_layout(
        _axis(walks),
        "Loss",
        showlegend=len(walks) > 1,
        yaxis={"rangemode": "tozero"},
    )
    rows: list[dict[str, Any]] = [
        {"Model": walk.subject.title, "Images": image_kinds.title(walk.images), **row}
        for walk in walks
        for row in walk.rows()
    ]
    return make_chart(traces, layout, rows, _finding(walks))


def _name(walk: Walk, several: bool) -> str:
    return walk.subject.title + (f", {image_kinds.title(walk.images)}" if several else "")


def _axis(walks: Sequence[Walk]) -> str:
    units = {walk.unit for walk in walks}
    (unit,) = units if len(units) == 1 else [""]
    return f"Distance from the weights ({unit})" if unit else "Distance from the weights"


def _finding(walks: Sequence[Walk]) -> str:
    """How much the mean loss rises from the center to the far ends."""
    if not walks:
        return ""
    parts = [f"{walk.subject.phrase} {_rise(walk)}" for walk in walks]
    reach = max(map(abs, walks[0].distance))
    return f"At distance {number(reach)}, the loss of {' and that of '.join(parts)}."


def _rise(walk: Walk) -> str:
    """`rises by 4 (from 0.1)`"""
    loss = dict(zip(walk.distance, walk.mean, strict=True))
    reach, start = max(map(abs, loss)), loss[walk.at(0.0)]
    ends = [y for x, y in loss.items() if abs(x) >= 0.999 * reach]
    rise = sum(ends) / len(ends) - start
    curvature = "" if walk.curvature is None else f", curvature {number(walk.curvature)}"
    word = "rises" if rise >= 0 else "falls"
    return f"{word} by {number(abs(rise))} (from {number(start)}{curvature})"
