"""One layer rescaled, the predictions the same: which measures of sharpness move, and which
do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.measures import MEASURES
from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import GRAY, Mark, Trace, base_layout, line, listed, number, upright
from dashboard.charts.subject import Measured

_SAME = (
    0.05  # a change by less than a twentieth is within what rounding and few Lanczos steps leave
)
# measure -> dash and marker size. The shape is the model's, and so is the color of those that
# rescaling moves, which are solid; the others are gray. Where the lines of a pair coincide, the
# trace is a ring around the eigenvalue.
_LINES = {
    "lambda_max": ("solid", 7),
    "trace": ("solid", 13),
    "filter_lambda_max": ("dash", 7),
    "filter_trace": ("dash", 13),
    "adaptive_lambda_max": ("dot", 7),
    "adaptive_trace": ("dot", 13),
}
Arrays = Mapping[str, np.ndarray]
Ratios = Mapping[str, list[float | None]]


def ratio(arrays: Arrays, measure: str, factor: float) -> float | None:
    """How many times the measure at factor 1 it is at the measured factor next to `factor`."""
    factors, found = arrays["factor"], arrays.get(measure)
    if found is None or not len(factors):
        return None
    start = float(found[_near(factors, 1.0)])
    return float(found[_near(factors, factor)]) / start if start else None


def _near(factors: np.ndarray, factor: float) -> int:
    return int(np.abs(np.log(factors) - np.log(factor)).argmin())


def rescaling_chart(measured: Measured, *, at: float = 1.0) -> Chart:
    """What `rescaling` has found; each measure is drawn relative to the model as it is.

    `at` is the factor of the slider: an upright line.
    """
    arrays = measured.arrays
    if not len(arrays.get("factor", ())):
        return make_chart([], {}, [], "")
    factors = [float(factor) for factor in arrays["factor"]]
    found = {
        name: [ratio(arrays, name, factor) for factor in factors]
        for name in _LINES
        if name in arrays
    }
    mark = measured.subject.mark
    traces = [_line(name, factors, ratios, mark) for name, ratios in found.items()]
    rows = [
        {
            "Factor": factor,
            "Largest change of a logit": float(arrays["max_change"][i]),
            **{MEASURES[name].title: float(arrays[name][i]) for name in found},
        }
        for i, factor in enumerate(factors)
    ]
    return make_chart(traces, _layout(at), rows, _finding(arrays, found))


def _line(name: str, factors: list[float], ratios: list[float | None], mark: Mark) -> Trace:
    dash, size = _LINES[name]
    pairs = zip(factors, ratios, strict=True)
    drawn = [(x, y) for x, y in pairs if y is not None and y > 0]
    title = MEASURES[name].title
    return line(
        title,
        [x for x, _ in drawn],
        [y for _, y in drawn],
        mark.color if dash == "solid" else GRAY,
        dash=dash,
        symbol=mark.symbol if size == 7 else f"{mark.symbol}-open",
        size=size,
        hovertemplate=f"%{{y:.3g}} times at factor %{{x:.3g}}<extra>{title}</extra>",
    )


def _layout(at: float) -> dict[str, Any]:
    return base_layout(
        "Factor on the layer's weights (log)",
        "Times the value at factor 1 (log)",
        showlegend=True,
        xaxis={"type": "log", "dtick": 1},
        yaxis={"type": "log", "exponentformat": "power", "dtick": 1},
        legend={"y": -0.24, "yanchor": "top"},
        margin={"b": 110},
        shapes=[upright(at, width=2)],
    )


def _finding(arrays: Arrays, found: Ratios) -> str:
    low, high = (number(float(end)) for end in (arrays["factor"].min(), arrays["factor"].max()))
    spans = {name: span for name in found if (span := _span(found[name])) is not None}
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
        text += f", but these change: {listed(moved)}"
    if kept:
        text += f"; these stay within {100 * _SAME:.0f} %: {listed(kept)}"
    return text + "."


def _span(ratios: list[float | None]) -> float | None:
    """How many times the smallest value the largest is."""
    known = [abs(ratio) for ratio in ratios if ratio]
    return max(known) / min(known) if known else None


def _small(name: str) -> str:
    return MEASURES[name].title[0].lower() + MEASURES[name].title[1:]
