"""Planes of several models beside each other on one floor: a single picture in three dimensions.

A browser gives a page only so many contexts for three dimensions, and two pictures that are turned
each by itself cannot be compared by eye.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analysis import image_kinds
from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.loss_plane import Arrays, plane_chart
from dashboard.charts.style import Trace, escape
from dashboard.charts.subject import Measured
from dashboard.charts.titles import told_apart

_GAP = 0.18  # between two planes, as a share of one


def scene_chart(
    found: Sequence[tuple[Measured, Sequence[Arrays]]], *, log: bool = False, which: int = 0
) -> Chart:
    """One floor for all of `found`, each with the arrays that share its axes (see `plane_chart`).

    The name of each stands in front of it.
    """
    charts = [
        plane_chart(one, view="surface", log=log, which=which, among=among) for one, among in found
    ]
    layouts = [chart.figure["layout"] for chart in charts if chart.figure["data"]]
    if not layouts:
        return make_chart([], {}, [], "")
    low, high = layouts[0]["scene"]["xaxis"]["range"]
    step = (1 + _GAP) * (high - low)
    traces: list[Trace] = []
    rows: list[dict[str, Any]] = []
    names: dict[float, str] = {}
    titles = told_apart(
        [one.subject.title for one, _ in found],
        [image_kinds.title(str(one.values.get("data", "clean"))) for one, _ in found],
    )
    for place, (title, chart) in enumerate(zip(titles, charts, strict=True)):
        names[place * step + (low + high) / 2] = title
        traces += [_moved(trace, place * step, first=place == 0) for trace in chart.figure["data"]]
        rows += [{"Model": title, **row} for row in chart.rows]
    layout = dict(layouts[0])
    layout["scene"] = _wide(layout["scene"], names, (low, high + (len(found) - 1) * step))
    finding = " ".join(
        f"{name}: {chart.finding}"
        for name, chart in zip(names.values(), charts, strict=True)
        if chart.finding
    )
    return make_chart(traces, layout, rows, finding, f"Surfaces on one floor. {finding}")


def _moved(trace: Trace, by: float, *, first: bool) -> Trace:
    """The trace further along the first axis. One bar tells the colors of all."""
    moved = {**trace, "x": [x + by for x in trace["x"]]}
    if trace["type"] == "surface":
        moved["showscale"] = first
        # the place as it is on the plane, not on the floor
        moved["text"] = [[f"{x:.3g}" for x in trace["x"]] for _ in trace["y"]]
        moved["hovertemplate"] = trace["hovertemplate"].replace("%{x:.3g}", "%{text}")
    return moved


def _wide(
    scene: dict[str, Any], names: dict[float, str], ends: tuple[float, float]
) -> dict[str, Any]:
    """The scene of one plane, made as wide as all of them."""
    count = len(names)
    axis = {"title": {"text": ""}, "range": list(ends), "showgrid": False, "showticklabels": False}
    front, low = scene["yaxis"]["range"][0], scene["zaxis"]["range"][0]
    words = [  # not ticks, which turn with the floor
        {
            "x": x,
            "y": front,
            "z": low,
            "text": f"<b>{escape(name)}</b>",
            "showarrow": False,
            "yshift": -16,
            "font": {"size": 14},
        }
        for x, name in names.items()
    ]
    shape = scene["aspectratio"]
    eye = scene["camera"]["eye"]
    return {
        **scene,
        "annotations": words,
        "xaxis": axis,
        "yaxis": {**scene["yaxis"], "title": {"text": ""}, "showticklabels": False},
        "aspectratio": {**shape, "x": shape["x"] * count},
        "camera": {
            "center": {"x": 0, "y": 0, "z": -0.2},
            "eye": {"x": 0.15 * count, "y": 0.9 * eye["y"] - 0.25 * count, "z": 0.8 * eye["z"]},
        },
    }
