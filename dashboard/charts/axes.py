"""Common axes for charts that stand side by side, or one below the other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dashboard.charts.chart import Chart
from dashboard.charts.style import Trace

Range = tuple[float, float]


def same_axes(charts: list[Chart]) -> list[Chart]:
    """The charts with one common range on each axis, so that they can be compared by eye."""
    figures = [{**chart.figure, "layout": dict(chart.figure["layout"])} for chart in charts]
    drawn = [figure for figure in figures if figure["data"]]  # what is empty has no range
    for axis in ("x", "y"):
        _share(axis, drawn)
    return [replace(chart, figure=figure) for chart, figure in zip(charts, figures, strict=True)]


def stack(layout: dict[str, Any], panels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The layout with one panel below the other over one x axis.

    panels: what is special about each y axis, from the top; they are `yaxis`, `yaxis2`, ...
    """
    plain = layout["yaxis"]
    gap = 0.24 / max(2, len(panels))  # shares of the height
    height = (1 + gap) / max(1, len(panels)) - gap
    for place, panel in enumerate(panels, start=1):
        name = "yaxis" if place == 1 else f"yaxis{place}"
        top = 1 - (place - 1) * (height + gap)
        layout[name] = {**plain, **panel}
        if len(panels) > 1:
            layout[name]["domain"] = [max(0.0, round(top - height, 4)), round(top, 4)]
            layout["xaxis"]["anchor"] = f"y{place}"
    return layout


def _share(axis: str, figures: list[dict[str, Any]]) -> None:
    """Give the figures one range on this axis; those by category have none."""
    name = f"{axis}axis"
    shapes = [figure["layout"].get(name, {}) for figure in figures]
    if any("categoryorder" in shape or shape.get("type") == "category" for shape in shapes):
        return
    ranges = [
        found
        for figure, shape in zip(figures, shapes, strict=True)
        if (found := shape.get("range") or _extent(figure["data"], axis, shape.get("type")))
    ]
    if not ranges:
        return
    common = [min(low for low, _ in ranges), max(high for _, high in ranges)]
    for figure, shape in zip(figures, shapes, strict=True):
        figure["layout"][name] = {**shape, "range": common, "autorange": False}


def _extent(traces: Iterable[Trace], axis: str, scale: str | None) -> Range | None:
    """The ends of what is drawn, in the axis' own units, with some room."""
    found = list(_numbers(traces, axis))
    if scale == "log":
        found = [math.log10(value) for value in found if value > 0]
    if not found:
        return None
    pad = 0.05 * (max(found) - min(found) or 1.0)
    return min(found) - pad, max(found) + pad


def _numbers(traces: Iterable[Trace], axis: str) -> Iterable[float]:
    for trace in traces:
        for value in trace.get(axis) or ():
            if isinstance(value, (int, float)) and math.isfinite(value):
                yield float(value)
