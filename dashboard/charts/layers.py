"""Which layer a defense tunes: the score of every candidate."""

from __future__ import annotations

from typing import Any

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import GRAY, base_layout, escape, lane_colors, lane_title, number


def layer_chart(events: list[dict[str, Any]]) -> Chart:
    """Bars of the `layer` events, the layer of the `chosen` event in the lane's color, the
    others gray.
    """
    scored = [
        event for event in events if event.get("type") == "layer" and event.get("score") is not None
    ]
    chosen = {event["lane"]: event for event in events if event.get("type") == "chosen"}
    lanes = list(dict.fromkeys(event["lane"] for event in scored))
    colors = lane_colors(lanes)
    layers = list(dict.fromkeys(event["layer"] for event in scored))
    traces = []
    for lane in lanes:
        scores = {event["layer"]: event["score"] for event in scored if event["lane"] == lane}
        picked = chosen.get(lane, {}).get("layer")
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": escape(lane_title(lane)),
                "y": [escape(layer) for layer in scores],
                "x": list(scores.values()),
                "text": [
                    number(score) + (" chosen" if layer == picked else "")
                    for layer, score in scores.items()
                ],
                "textposition": "outside",
                "cliponaxis": False,
                "marker": {
                    "color": [
                        colors[lane] if layer == picked or picked is None else GRAY
                        for layer in scores
                    ]
                },
                "hovertemplate": f"%{{y}}: %{{x:.3g}}<extra>{escape(lane_title(lane))}</extra>",
            }
        )
    layout = base_layout(
        "Score",
        "",
        right=84,
        barmode="group",
        bargap=0.3,
        showlegend=len(lanes) > 1,
        yaxis={
            "autorange": "reversed",
            "categoryorder": "array",
            "ticksuffix": "  ",
            "categoryarray": [escape(layer) for layer in layers],
        },
    )
    rows = [
        {
            "Lane": lane_title(event["lane"]),
            "Layer": event["layer"],
            "Score": event["score"],
            "Chosen": chosen.get(event["lane"], {}).get("layer") == event["layer"],
        }
        for event in scored
    ]
    return make_chart(traces, layout, rows, _finding(scored, chosen))


def _finding(scored: list[dict[str, Any]], chosen: dict[str, dict[str, Any]]) -> str:
    parts = []
    for lane in dict.fromkeys(event["lane"] for event in scored):
        layers = {event["layer"]: event["score"] for event in scored if event["lane"] == lane}
        pick, name = chosen.get(lane, {}).get("layer"), lane_title(lane)
        if pick in layers:
            rank = 1 + sum(score > layers[pick] for score in layers.values())
            place = "the highest" if rank == 1 else f"number {rank}"
            parts.append(
                f"{name} tunes {pick}, whose score {number(layers[pick])} is {place} of "
                f"{len(layers)}"
            )
        else:
            best = max(layers, key=layers.__getitem__)
            parts.append(
                f"Of {len(layers)} layers scored for {name} so far, {best} is highest "
                f"with {number(layers[best])}"
            )
    return "; ".join(parts) + "." if parts else ""
