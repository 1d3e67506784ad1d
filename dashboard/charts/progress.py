"""Inside the steps of a purification: Fisher trace of the tuned layer, and distance from the
start.
"""

from __future__ import annotations

from typing import Any

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import base_layout, lane_colors, lane_title, line, number
from ngf.config import PurifySpec

_COLUMNS = {
    "fisher_trace": "Tr(F) of the tuned layer",
    "distance": "Distance from the start",
    "update_norm": "Length of the update",
    "damping": "Damping",
    "kl": "KL divergence",
    "loss": "Training loss",
    "lr": "Learning rate",
}


def internals_chart(spec: PurifySpec, events: list[dict[str, Any]]) -> Chart:
    """Two panels, one line a lane: Tr(F) above (log scale), distance of the weights from the
    start below.
    """
    lanes = spec.lane_names()
    colors = lane_colors(lanes)
    steps = {
        lane: [
            event for event in events if event.get("type") == "step" and event.get("lane") == lane
        ]
        for lane in lanes
    }
    panels = [
        key
        for key in ("fisher_trace", "distance")
        if any(event.get(key) is not None for seen in steps.values() for event in seen)
    ]
    traces: list[dict[str, Any]] = []
    for panel, key in enumerate(panels):
        for i, lane in enumerate(lanes):
            seen = [
                event
                for event in steps[lane]
                if event.get(key) is not None and (key == "distance" or event[key] > 0)
            ]
            if seen:
                name = lane_title(lane)
                traces.append(
                    {
                        **line(
                            name,
                            [event["step"] for event in seen],
                            [event[key] for event in seen],
                            colors[lane],
                            dash=("solid", "dash", "dot", "dashdot")[i % 4],
                            yaxis="y2" if panel else "y",
                            legendgroup=lane,
                            showlegend=not any(trace["name"] == name for trace in traces),
                            hovertemplate=(
                                f"{_COLUMNS[key]}: %{{y:.3g}}<extra>{name}, step %{{x}}</extra>"
                            ),
                        ),
                        "mode": "lines" if len(seen) > 1 else "lines+markers",
                    }
                )
    total = max((event["steps"] for seen in steps.values() for event in seen), default=100)
    titles = {"fisher_trace": "Tr(F), tuned layer", "distance": "Distance"}
    layout = base_layout(
        "Step of fine-tuning",
        titles[panels[0]] if panels else "",
        showlegend=True,
        xaxis={"range": [0, total]},
        meta={"x_name": "step"},
    )
    layout["yaxis"] |= (
        {"type": "log", "tickformat": "~g"}
        if panels[:1] == ["fisher_trace"]
        else {"rangemode": "tozero"}
    )
    if len(panels) == 2:
        layout["yaxis"]["domain"] = [0.56, 1]
        layout["xaxis"]["anchor"] = "y2"
        layout["yaxis2"] = {
            "domain": [0, 0.44],
            "rangemode": "tozero",
            "zeroline": False,
            "automargin": True,
            "title": {"text": titles["distance"], "standoff": 8},
        }
    rows = [
        {
            "Lane": lane_title(lane),
            "Step": event["step"],
            **{words: event.get(key) for key, words in _COLUMNS.items()},
        }
        for lane in lanes
        for event in steps[lane]
    ]
    return make_chart(
        traces,
        layout,
        rows,
        _finding(steps),
        "Line chart of the Fisher trace of the tuned layer and of the distance that the weights "
        f"have moved, over {total} steps. {_finding(steps)}",
    )


def _finding(steps: dict[str, list[dict[str, Any]]]) -> str:
    parts = []
    for lane, seen in steps.items():
        trace = [event["fisher_trace"] for event in seen if event.get("fisher_trace") is not None]
        moved = [event["distance"] for event in seen if event.get("distance") is not None]
        if moved:
            words = f"{lane_title(lane)} has moved the weights by {number(moved[-1])}"
            if len(trace) > 1:
                words += f" while Tr(F) went from {number(trace[0])} to {number(trace[-1])}"
            parts.append(words)
    return "; ".join(parts) + "." if parts else "The steps have not been recorded in detail."
