"""A trained bend between two models, beside the straight line between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import BLUE, VERMILION, base_layout, line, number

_WAYS = (
    ("Trained bend", "loss", BLUE, "solid", "circle"),
    ("Straight line", "line_loss", VERMILION, "dash", "square"),
)


def bend_chart(values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Chart:
    """`values` and `arrays` are those of `loss_bend`."""
    if "t" not in arrays:
        return make_chart([], {}, [], "")
    t = [float(x) for x in arrays["t"]]
    traces = [
        line(
            name,
            t,
            [float(y) for y in arrays[key]],
            color,
            dash=dash,
            symbol=symbol,
            hovertemplate=f"loss %{{y:.3g}} at %{{x:.3g}}<extra>{name}</extra>",
        )
        for name, key, color, dash, symbol in _WAYS
    ]
    layout = base_layout(
        "Backdoored model = 0, purified model = 1",
        "Loss",
        showlegend=True,
        yaxis={"rangemode": "tozero"},
    )
    rows = [
        {"Way": name, "t": x, "Loss": float(y), "Right answers": float(rate)}
        for (name, key, *_), rates in zip(_WAYS, ("ca", "line_ca"), strict=True)
        for x, y, rate in zip(t, arrays[key], arrays[rates], strict=True)
    ]
    return make_chart(traces, layout, rows, _finding(values))


def _finding(values: Mapping[str, Any]) -> str:
    line_top, bend_top = values["highest_line"], values["highest_bend"]
    ends = max(values["loss_start"], values["loss_end"])
    step = f" after {values['steps_done']} training steps" if values.get("steps_done") else ""
    if line_top <= ends * 1.01 + 1e-3:
        return (
            f"The straight line has no hill: its highest loss is {number(line_top)}, that of the "
            f"ends {number(ends)}. Nothing has to be gone around."
        )
    how = "no lower than" if bend_top > 0.95 * line_top else "below"
    return (
        f"The highest loss on the bend is {number(bend_top)}{step}, {how} the {number(line_top)} "
        f"of the straight line; the higher end has {number(ends)}."
    )
