"""The loss on the straight line from one model to another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis import image_kinds
from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.loss_slice import Walk
from dashboard.charts.style import base_layout, number, upright
from dashboard.charts.subject import Measured

AXIS = "Backdoored model = 0, purified model = 1"


def lines(found: Sequence[Measured]) -> list[Walk]:
    """What `loss_line` has found, one line per kind of images; the band is twice the standard
    error over images.
    """
    return [_line(item) for item in found if "t" in item.arrays]


def _line(item: Measured) -> Walk:
    loss, error = item.arrays["loss"], 2 * np.nan_to_num(item.arrays["loss_stderr"], posinf=0.0)
    return Walk(
        item.subject,
        item.values.get("data") or "",
        item.arrays["t"].tolist(),
        loss.tolist(),
        (loss - error).clip(0).tolist(),
        (loss + error).tolist(),
    )


def line_chart(walks: Sequence[Walk]) -> Chart:
    """Distance 0 is one model, 1 the other; the images give color and dash."""
    traces = [trace for walk in walks for trace in walk.traces(_name(walk), walk.mark.color)]
    layout = base_layout(
        AXIS,
        "Loss",
        showlegend=len(walks) > 1,
        yaxis={"rangemode": "tozero"},
        shapes=[upright(x) for x in (0, 1)],
    )
    rows: list[dict[str, Any]] = [
        {"Images": _name(walk), **row} for walk in walks for row in walk.rows()
    ]
    return make_chart(traces, layout, rows, _finding(walks))


def _name(walk: Walk) -> str:
    return image_kinds.title(walk.images) or walk.subject.title


def _finding(walks: Sequence[Walk]) -> str:
    text = "; ".join(f"on {_images(walk)} {_hill(walk)}" for walk in walks) + "."
    return text[0].upper() + text[1:] if walks else ""


def _images(walk: Walk) -> str:
    """`triggered images with true labels`"""
    return _name(walk).lower().replace(", as", " as").replace(", ", " with ")


def _hill(walk: Walk) -> str:
    """Loss at both ends of the line, and the hill between them."""
    loss = dict(zip(walk.distance, walk.mean, strict=True))
    start, end = walk.at(0.0), walk.at(1.0)
    top = max(y for x, y in loss.items() if start <= x <= end)
    hill = top - max(loss[start], loss[end])
    how = f"over a hill of {number(hill)}" if hill > 0.01 * (1 + top) else "without a hill"
    return f"the loss goes from {number(loss[start])} to {number(loss[end])} {how}"
