"""A trained bend between two models, beside the straight line between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.loss_line import AXIS
from dashboard.charts.style import IMAGES, base_layout, line, number

# what is drawn: name, its losses, its shares of right answers, dash, mode
_WAYS = (
    ("Trained bend", "loss", "ca", "solid", "lines+markers"),
    ("Straight line", "line_loss", "line_ca", "dash", "lines"),
)


def bend_chart(values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Chart:
    """`values` and `arrays` are those of `loss_bend`. The images give the color; the straight line
    is there to compare with.
    """
    if "t" not in arrays:
        return make_chart([], {}, [], "")
    t = [float(x) for x in arrays["t"]]
    mark = IMAGES.get(values.get("data") or "", IMAGES["clean"])
    traces = [
        line(
            name,
            t,
            [float(y) for y in arrays[loss]],
            mark.color,
            dash=dash,
            symbol=mark.symbol,
            mode=mode,
            hovertemplate=f"loss %{{y:.3g}} at %{{x:.3g}}<extra>{name}</extra>",
        )
        for name, loss, _, dash, mode in _WAYS
    ]
    layout = base_layout(AXIS, "Loss", showlegend=True, yaxis={"rangemode": "tozero"})
    rows = [
        {"Way": name, "t": x, "Loss": float(y), "Right answers": float(rate)}
        for name, loss, rates, *_ in _WAYS
        for x, y, rate in zip(t, arrays[loss], arrays[rates], strict=True)
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
