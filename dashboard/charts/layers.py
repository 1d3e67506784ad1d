"""Which layer a defense tunes: the score of every candidate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.rates import Event
from dashboard.charts.style import GRAY, Trace, base_layout, escape, lane_marks, number
from dashboard.charts.titles import lane_title

Scores = dict[str, float]  # by layer


def layer_chart(events: Sequence[Event]) -> Chart:
    """Bars of the `layer` events, the layer of the `chosen` event in the lane's color, the
    others gray.
    """
    scored: dict[str, Scores] = {}
    for event in events:
        if event.get("type") == "layer" and event.get("score") is not None:
            scored.setdefault(event["lane"], {})[event["layer"]] = event["score"]
    chosen = {
        event["lane"]: event.get("layer") for event in events if event.get("type") == "chosen"
    }
    marks = lane_marks(list(scored))
    traces = [
        _bars(lane, scores, chosen.get(lane), marks[lane].color) for lane, scores in scored.items()
    ]
    layers = list(dict.fromkeys(layer for scores in scored.values() for layer in scores))
    rows = [
        {
            "Lane": lane_title(lane),
            "Layer": layer,
            "Score": score,
            "Chosen": layer == chosen.get(lane),
        }
        for lane, scores in scored.items()
        for layer, score in scores.items()
    ]
    finding = "; ".join(_said(lane, scores, chosen.get(lane)) for lane, scores in scored.items())
    finding += "." * bool(finding)
    finding = " ".join(filter(None, [finding, *left_out(events)]))
    return make_chart(traces, _layout(layers, len(scored)), rows, finding)


def left_out(events: Sequence[Event]) -> list[str]:
    """A sentence for each lane whose choice has left layers out, with the reason of the first
    few.
    """
    told: dict[str, list[Event]] = {}
    for event in events:
        if event.get("type") == "left_out":
            told.setdefault(event["lane"], []).append(event)
    said = []
    for lane, left in told.items():
        few = "; ".join(f"{event['layer']}: {event['why'].rstrip('.')}" for event in left[:3])
        more = f"; and {len(left) - 3} more" if len(left) > 3 else ""
        said.append(f"Left out for {lane_title(lane)}: {few}{more}.")
    return said


def _bars(lane: str, scores: Scores, picked: str | None, color: str) -> Trace:
    name = escape(lane_title(lane))
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "y": [escape(layer) for layer in scores],
        "x": list(scores.values()),
        "text": [
            number(score) + (" chosen" if layer == picked else "")
            for layer, score in scores.items()
        ],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": [color if picked in (layer, None) else GRAY for layer in scores]},
        "hovertemplate": f"%{{y}}: %{{x:.3g}}<extra>{name}</extra>",
    }


def _layout(layers: Sequence[str], lanes: int) -> dict[str, Any]:
    return base_layout(
        "Score",
        "",
        right=84,
        barmode="group",
        bargap=0.3,
        showlegend=lanes > 1,
        yaxis={
            "autorange": "reversed",
            "categoryorder": "array",
            "ticksuffix": "  ",
            "categoryarray": [escape(layer) for layer in layers],
        },
    )


def _said(lane: str, scores: Scores, picked: str | None) -> str:
    name = lane_title(lane)
    if picked is not None and picked in scores:
        own = scores[picked]
        rank = 1 + sum(score > own for score in scores.values())
        place = "the highest" if rank == 1 else f"number {rank}"
        return f"{name} tunes {picked}, whose score {number(own)} is {place} of {len(scores)}"
    best = max(scores, key=scores.__getitem__)
    return (
        f"Of {len(scores)} layers scored for {name} so far, {best} is highest with "
        f"{number(scores[best])}"
    )
