"""One layer rescaled, the predictions the same: which measures of sharpness move, and which
do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.measures import MEASURES
from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import (
    BLUE,
    GREEN,
    ORANGE,
    PINK,
    SKY,
    VERMILION,
    base_layout,
    line,
    number,
)

_SAME = (
    0.05  # a change by less than a twentieth is within what rounding and few Lanczos steps leave
)
_LOOKS = {  # measure -> color, dash, marker; those that rescaling moves are solid
    "lambda_max": (VERMILION, "solid", "circle"),
    "trace": (ORANGE, "solid", "square"),
    "filter_lambda_max": (BLUE, "dash", "triangle-up"),
    "filter_trace": (SKY, "dash", "diamond"),
    "adaptive_lambda_max": (GREEN, "dot", "cross"),
    "adaptive_trace": (PINK, "dot", "x"),
}


def ratio(arrays: Mapping[str, np.ndarray], measure: str, factor: float) -> float | None:
    """How many times the measure at factor 1 it is at the measured factor next to `factor`."""
    factors, found = arrays["factor"], arrays.get(measure)
    if found is None or not len(factors):
        return None
    start = float(found[_near(factors, 1.0)])
    return float(found[_near(factors, factor)]) / start if start else None


def _near(factors: np.ndarray, factor: float) -> int:
    return int(np.abs(np.log(factors) - np.log(factor)).argmin())


def rescaling_chart(
    values: Mapping[str, Any], arrays: Mapping[str, np.ndarray], *, at: float = 1.0
) -> Chart:
    """`values` and `arrays` are those of `rescaling`; each measure is drawn relative to the model
    as it is.

    `at` is the factor of the slider: an upright line.
    """
    if not len(arrays.get("factor", ())):
        return make_chart([], {}, [], "")
    factors = arrays["factor"]
    found = {
        name: [ratio(arrays, name, float(factor)) for factor in factors]
        for name in _LOOKS
        if name in arrays
    }
    traces = []
    for name, ratios in found.items():
        color, dash, symbol = _LOOKS[name]
        drawn = [
            (float(x), y) for x, y in zip(factors, ratios, strict=True) if y is not None and y > 0
        ]
        traces.append(
            line(
                MEASURES[name].title,
                [x for x, _ in drawn],
                [y for _, y in drawn],
                color,
                dash=dash,
                symbol=symbol,
                hovertemplate=(
                    f"%{{y:.3g}} times at factor %{{x:.3g}}<extra>{MEASURES[name].title}</extra>"
                ),
            )
        )
    layout = base_layout(
        "Factor on the layer's weights (log)",
        "Times the value at factor 1 (log)",
        showlegend=True,
        xaxis={"type": "log", "dtick": 1},
        yaxis={"type": "log", "exponentformat": "power", "dtick": 1},
    )
    layout["legend"] = {"orientation": "h", "x": 0, "xanchor": "left", "y": -0.24, "yanchor": "top"}
    layout["margin"]["b"] = 110
    layout["shapes"] = [
        {
            "type": "line",
            "x0": at,
            "x1": at,
            "y0": 0,
            "y1": 1,
            "yref": "paper",
            "line": {"color": "#888888", "width": 2, "dash": "dot"},
        }
    ]
    rows = [
        {
            "Factor": float(factor),
            "Largest change of a logit": float(arrays["max_change"][i]),
            **{MEASURES[name].title: float(arrays[name][i]) for name in found},
        }
        for i, factor in enumerate(factors)
    ]
    return make_chart(traces, layout, rows, _finding(values, arrays, found))


def _finding(
    values: Mapping[str, Any], arrays: Mapping[str, np.ndarray], found: Mapping[str, list]
) -> str:
    low, high = (number(float(end)) for end in (arrays["factor"].min(), arrays["factor"].max()))
    spans = {
        name: max(map(abs, known)) / min(map(abs, known))
        for name, ratios in found.items()
        if (known := [ratio for ratio in ratios if ratio])
    }
    moved = [
        f"{_small(name)} by a factor of {number(span)}"
        for name, span in spans.items()
        if span > 1 + _SAME
    ]
    kept = [_small(name) for name, span in spans.items() if span <= 1 + _SAME]
    text = (
        f"From factor {low} to {high} no logit moves by more than "
        f"{number(float(arrays['max_change'].max()), 2)}"
    )
    if moved:
        text += f", but these change: {_list(moved)}"
    if kept:
        text += f"; these stay within {100 * _SAME:.0f} %: {_list(kept)}"
    return text + "."


def _small(name: str) -> str:
    return MEASURES[name].title[0].lower() + MEASURES[name].title[1:]


def _list(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
