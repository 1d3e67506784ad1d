"""Common axes for charts that stand side by side."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from dashboard.charts.chart import Chart


def same_axes(charts: list[Chart]) -> list[Chart]:
    """The charts with one common range on each axis, so that they can be compared by eye."""
    figures = [{**chart.figure, "layout": dict(chart.figure["layout"])} for chart in charts]
    for axis in ("x", "y"):
        name = f"{axis}axis"
        drawn = [figure for figure in figures if figure["data"]]  # what is empty has no range
        shapes = [figure["layout"].get(name, {}) for figure in drawn]
        if any("categoryorder" in shape or shape.get("type") == "category" for shape in shapes):
            continue
        ranges = [
            shape["range"] if "range" in shape else _extent(figure["data"], axis, shape.get("type"))
            for figure, shape in zip(drawn, shapes, strict=True)
        ]
        ranges = [pair for pair in ranges if pair]
        if not ranges:
            continue
        common = [min(pair[0] for pair in ranges), max(pair[1] for pair in ranges)]
        for figure, shape in zip(drawn, shapes, strict=True):
            figure["layout"][name] = {**shape, "range": common, "autorange": False}
    return [replace(chart, figure=figure) for chart, figure in zip(charts, figures, strict=True)]


def _extent(traces: Iterable[dict[str, Any]], axis: str, scale: str | None) -> list[float] | None:
    drawn = [trace[axis] for trace in traces if trace.get(axis) is not None]
    found = [
        float(value)
        for values in drawn
        for value in values
        if isinstance(value, (int, float)) and math.isfinite(value)
    ]
    if scale == "log":
        found = [math.log10(value) for value in found if value > 0]
    if not found:
        return None
    pad = 0.05 * (max(found) - min(found) or 1.0)
    return [min(found) - pad, max(found) + pad]
