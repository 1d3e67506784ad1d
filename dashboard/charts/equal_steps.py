"""Natural gradient in one picture: steps of equal length in the weights, and in the predictions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import METHODS, base_layout, line, number

Found = Mapping[str, Any]  # as `evidence.equal_steps` writes it


def equal_steps_chart(found: Found, *, predictions: bool = True) -> Chart:
    """A circle and, where it is asked for, the curve on which predictions change equally much."""
    same = [found["weights"]] * len(found["angle"])
    curves = [("Equal steps in the weights", "sgd", same, found["kl_of_weights"])]
    if predictions:
        kl = [found["kl"]] * len(found["angle"])
        curves.append(("Equal steps in the predictions", "ngf", found["length"], kl))
    traces = [_curve(found["angle"], *curve) for curve in curves]
    reach = 1.1 * max(found["length"] if predictions else same)
    layout = base_layout(
        "Weights, along the direction that predictions feel most",
        "Weights, along another",
        showlegend=True,
        xaxis={"range": [-reach, reach]},
        yaxis={"range": [-reach, reach], "scaleanchor": "x"},
    )
    rows = [
        {"Step": name, "Angle": angle, "Length": length, "KL (nats)": change}
        for name, _, lengths, changes in curves
        for angle, length, change in zip(found["angle"], lengths, changes, strict=True)
    ]
    return make_chart(traces, layout, rows, _finding(found, predictions))


def _curve(
    angles: Sequence[float], name: str, method: str, lengths: Sequence[float], kl: Sequence[float]
) -> dict[str, Any]:
    closed = [*zip(angles, lengths, kl, strict=True), (angles[0], lengths[0], kl[0])]
    return line(
        name,
        [length * math.cos(math.radians(angle)) for angle, length, _ in closed],
        [length * math.sin(math.radians(angle)) for angle, length, _ in closed],
        METHODS[method].color,
        dash="dash" if method == "sgd" else "solid",
        size=4,
        customdata=[[number(length), number(change)] for _, length, change in closed],
        hovertemplate="length %{customdata[0]}: predictions change by %{customdata[1]} nats"
        f"<extra>{name}</extra>",
    )


def _finding(found: Found, predictions: bool) -> str:
    low, high = min(found["kl_of_weights"]), max(found["kl_of_weights"])
    said = (
        f"Steps of one length in the weights change the predictions by {number(low, 2)} to "
        f"{number(high, 2)} nats, depending on the direction"
    )
    if predictions:
        short, far = min(found["length"]), max(found["length"])
        said += (
            f"; steps that change them by {number(found['kl'])} nats are {number(short, 2)} to "
            f"{number(far, 2)} long"
        )
    return f"{said} ({found['n']:,} clean test images)."
