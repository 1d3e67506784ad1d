"""How far each layer of a model was moved by the defenses of a race."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import Trace, base_layout, escape, lane_marks, listed, percent
from dashboard.charts.titles import lane_title
from ngf.export.weight_change import LayerChange, whole

_LEAST = 0.001  # a smaller share is told as one below it
_ROOM, _ROW = 110, 22  # pixels: around the layers, and of one
Layers = Mapping[str, Sequence[LayerChange]]  # by lane


def weight_change_chart(found: Layers) -> Chart:
    """A row for each layer, a mark for each lane that moved it: ||w - w0|| / ||w0|| on a scale of
    logarithms.
    """
    marks = lane_marks(list(found))
    traces = [
        _marks(lane, layers, marks[lane].color, marks[lane].symbol)
        for lane, layers in found.items()
    ]
    names = list(dict.fromkeys(one.layer for layers in found.values() for one in layers))
    layout = base_layout(
        "Change of the weights, in percent of their length",
        "",
        showlegend=True,
        xaxis={"type": "log", "dtick": 1, "ticksuffix": " %", "range": _decades(traces)},
        yaxis={
            "categoryorder": "array",
            "categoryarray": [escape(name) for name in reversed(names)],
            "dtick": 1,
            "range": [-0.6, len(names) - 0.4],
        },
    )
    finding = "; ".join(_said(lane, layers) for lane, layers in found.items())
    return make_chart(
        [trace for trace in traces if trace["x"]],
        layout,
        _rows(found, names),
        f"{finding}." if finding else "",
    )


def _decades(traces: Sequence[Trace]) -> list[float]:
    """Whole powers of ten, as Plotly wants them, around all marks."""
    drawn = [math.log10(x) for trace in traces for x in trace["x"]] or [0.0]
    return [math.floor(min(drawn) - 0.05), math.ceil(max(drawn) + 0.05)]


def height(found: Layers) -> int:
    """Pixels that the chart takes."""
    return _ROOM + _ROW * max((len(layers) for layers in found.values()), default=0)


def _marks(lane: str, layers: Sequence[LayerChange], color: str, symbol: str) -> Trace:
    moved = [(one, one.relative) for one in layers if one.relative]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": escape(lane_title(lane)),
        "x": [100 * relative for _, relative in moved if relative is not None],
        "y": [escape(one.layer) for one, _ in moved],
        "marker": {"color": color, "symbol": symbol, "size": 9},
        "customdata": [f"{one.changed:,} of {one.count:,} parameters" for one, _ in moved],
        "hovertemplate": "%{y}: %{x:.3g} %<br>%{customdata}<extra>%{fullData.name}</extra>",
    }


def _rows(found: Layers, names: Sequence[str]) -> list[dict[str, Any]]:
    """What a layer became by each lane: `4.1 %`, or `4.1 %, 12.0 % changed` where not all did."""
    by_lane = {lane: {one.layer: one for one in layers} for lane, layers in found.items()}
    rows = []
    for name in names:
        there = {lane: layers[name] for lane, layers in by_lane.items() if name in layers}
        count = next(iter(there.values())).count
        cells = {lane_title(lane): _cell(one) for lane, one in there.items()}
        rows.append({"Layer": name, "Parameters": f"{count:,}", **cells})
    totals = {lane: whole(layers) for lane, layers in found.items()}
    if totals:
        count = next(iter(totals.values())).count
        cells = {lane_title(lane): _cell(one) for lane, one in totals.items()}
        rows.append({"Layer": "All layers", "Parameters": f"{count:,}", **cells})
    return rows


def _cell(one: LayerChange) -> str:
    if not one.changed:
        return "unchanged"
    far = "it was zero" if one.relative is None else percent(one.relative)
    if one.changed == one.count:
        return far
    return f"{far}, {_part(one)} changed"


def _part(one: LayerChange) -> str:
    """The share of its parameters that changed."""
    share = one.changed / one.count
    return percent(share) if share >= _LEAST else f"< {percent(_LEAST)}"


def _said(lane: str, layers: Sequence[LayerChange]) -> str:
    total = whole(layers)
    if not total.changed:
        return f"{lane_title(lane)} changed no parameter"
    most = sorted((one for one in layers if one.relative), key=lambda one: -(one.relative or 0))
    places = listed([f"{one.layer} ({percent(one.relative or 0)})" for one in most[:2]])
    return (
        f"{lane_title(lane)} changed {total.changed:,} of {total.count:,} parameters "
        f"({_part(total)}), most in {places}"
    )
