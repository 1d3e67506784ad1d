"""The spectrum of the Hessian or the Fisher information: how many directions are flat, how
many steep.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.curvature.density import smooth
from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import (
    DASHES,
    Trace,
    base_layout,
    escape,
    faint,
    number,
    upright,
    with_error,
)
from dashboard.charts.subject import Measured, Subject

SMOOTHING = 0.01  # width of the kernel, as a share of the range of the eigenvalues
MOST = 4  # models whose densities can be told apart in one picture; more get a row each
_DECADES = 7  # of the density that are shown: below, it is nothing but the tail of the smoothing


@dataclass(frozen=True)
class Spectrum:
    """The smoothed density of one model's eigenvalues on a grid, and the Ritz values themselves.

    lambda_max, lambda_min: None as long as nobody knows them.
    """

    subject: Subject
    grid: Sequence[float]
    density: Sequence[float]
    eigenvalues: Sequence[float]
    residuals: Sequence[float] = ()
    matrix: str = "Hessian"
    lambda_max: float | None = None
    lambda_max_error: float | None = None
    lambda_min: float | None = None

    @property
    def edge(self) -> float | None:
        """How far the bulk reaches: as far as the negative side, which has no outliers of its own
        at a minimum.

        None before the smallest eigenvalue is known, and where none is negative.
        """
        low = self.lambda_min
        return -low if low is not None and low < 0 and len(self.residuals) else None

    def outliers(self) -> int | None:
        """At least so many eigenvalues lie beyond the edge: Ritz values whose intervals are above
        it and disjoint.

        An eigenvalue lies within its Ritz value's residual, so disjoint intervals hold different
        eigenvalues.
        """
        if self.edge is None:
            return None
        count, last = 0, self.edge
        for value, residual in sorted(zip(self.eigenvalues, self.residuals, strict=True)):
            if value - residual > last:
                count, last = count + 1, value + residual
        return count


def spectra(found: Sequence[Measured]) -> list[Spectrum]:
    """What the spectra of `found` are so far, all on one grid, with one width of smoothing."""
    nodes = [item.arrays["nodes"] for item in found if "nodes" in item.arrays]
    if not nodes:
        return [Spectrum(item.subject, [], [], []) for item in found]
    grid, width = _grid(np.concatenate(nodes))
    return [_spectrum(item, grid, width) for item in found]


def _grid(nodes: np.ndarray) -> tuple[np.ndarray, float]:
    """Where the density is drawn, and how wide a node is smoothed."""
    low, high = float(nodes.min()), float(nodes.max())
    width = SMOOTHING * ((high - low) or 1.0)
    near = width * np.linspace(-6, 6, 121)  # most eigenvalues are near zero: more points there
    far = np.linspace(low - 3 * width, high + 3 * width, 400)
    return np.unique(np.concatenate([far, near])), width


def _spectrum(item: Measured, grid: np.ndarray, width: float) -> Spectrum:
    values, arrays, none = item.values, item.arrays, np.zeros(0)
    if "nodes" not in arrays:
        return Spectrum(item.subject, [], [], [])
    fisher = "fisher_lambda_max" in values
    prefix = "fisher_" if fisher else ""
    return Spectrum(
        item.subject,
        grid.tolist(),
        smooth(arrays["nodes"], arrays["weights"], grid, width).tolist(),
        arrays.get("eigenvalues", none).tolist(),
        arrays.get("residuals", none).tolist(),
        "Fisher information" if fisher else "Hessian",
        values.get(f"{prefix}lambda_max"),
        values.get(f"{prefix}lambda_max_error"),
        values.get(f"{prefix}lambda_min"),
    )


@dataclass(frozen=True)
class _Frame:
    """The axes. x is linear within ± `scale` and logarithmic beyond (symlog), y logarithmic up to
    `top`.
    """

    scale: float
    top: float

    def x(self, eigenvalue: float) -> float:
        return symlog(eigenvalue, self.scale)

    def above_bottom(self, decades: float) -> float:
        """The exponent of a density so far above the lowest that is shown."""
        return math.log10(self.top) - _DECADES + decades


def spectrum_chart(series: Sequence[Spectrum]) -> Chart:
    """Short strokes below the curve are the Ritz values, the marked point is the largest
    eigenvalue, the dotted line the edge of the bulk. Of more than `MOST` models there are rows of
    strokes alone, the largest eigenvalue under the model's mark.
    """
    series = [item for item in series if item.grid]
    if not series:
        return make_chart([], {}, [], "")
    grid = [x for item in series for x in item.grid]
    top = max(y for item in series for y in item.density) or 1.0
    frame = _Frame(_scale(grid), top)
    rows = [
        {"Model": item.subject.title, "Eigenvalue": x, "Density": y}
        for item in series
        for x, y in zip(item.grid, item.density, strict=True)
    ]
    if len(series) > MOST:
        traces = [trace for i, item in enumerate(series) for trace in _row(item, frame, i)]
        return make_chart(traces, _row_layout(series, grid, frame), rows, _extremes(series))
    traces = []
    for i, item in enumerate(series):
        height = frame.top * 10.0 ** (0.35 + 0.3 * i - _DECADES)
        traces += [_curve(item, frame, DASHES[i % len(DASHES)]), _strokes(item, frame, height)]
    return make_chart(traces, _layout(series, grid, frame), rows, _finding(series))


def _curve(item: Spectrum, frame: _Frame, dash: str) -> Trace:
    name, color = escape(item.subject.title), item.subject.mark.color
    floor = frame.top * 10.0 ** -(_DECADES + 1)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [round(frame.x(x), 5) for x in item.grid],
        "y": [max(y, floor) for y in item.density],
        "customdata": [number(x) for x in item.grid],
        "fill": "tozeroy",
        "fillcolor": faint(color, 0.1),
        "line": {"color": color, "width": 2.5, "dash": dash},
        "hovertemplate": (f"eigenvalue %{{customdata}}<br>density %{{y:.2g}}<extra>{name}</extra>"),
    }


def _strokes(item: Spectrum, frame: _Frame, height: float) -> Trace:
    """The Ritz values of a model, at this height."""
    name, color = escape(item.subject.title), item.subject.mark.color
    ritz = sorted({float(value) for value in item.eigenvalues})
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"{name}, Ritz values",
        "showlegend": False,
        "x": [round(frame.x(x), 5) for x in ritz],
        "y": [height] * len(ritz),
        "customdata": [number(x) for x in ritz],
        "marker": {
            "symbol": "line-ns-open",
            "size": 10,
            "color": color,
            "line": {"width": 1.5, "color": color},
        },
        "hovertemplate": f"Ritz value %{{customdata}}<extra>{name}</extra>",
    }


def _row(item: Spectrum, frame: _Frame, row: int) -> list[Trace]:
    """The Ritz values of one of many models, and its largest eigenvalue."""
    name, mark = escape(item.subject.title), item.subject.mark
    strokes = _strokes(item, frame, row)
    if item.lambda_max is None:
        return [strokes]
    largest = {
        "type": "scatter",
        "mode": "markers",
        "name": f"{name}, largest",
        "showlegend": False,
        "x": [round(frame.x(item.lambda_max), 5)],
        "y": [row],
        "marker": {"symbol": mark.symbol, "size": 10, "color": mark.color},
        "hovertemplate": f"largest eigenvalue {number(item.lambda_max)}<extra>{name}</extra>",
    }
    return [strokes, largest]


def _row_layout(series: Sequence[Spectrum], grid: Sequence[float], frame: _Frame) -> dict[str, Any]:
    return base_layout(
        f"Eigenvalue of the {series[0].matrix} (symlog)",
        "",
        xaxis=_ticks(grid, frame),
        yaxis={
            "tickvals": list(range(len(series))),
            "ticktext": [escape(item.subject.title) for item in series],
            "range": [len(series) - 0.5, -0.5],
            "ticksuffix": "  ",
        },
    )


def _layout(series: Sequence[Spectrum], grid: Sequence[float], frame: _Frame) -> dict[str, Any]:
    layout = base_layout(
        f"Eigenvalue of the {series[0].matrix} (symlog)", "Density", showlegend=len(series) > 1
    )
    layout["yaxis"] |= {
        "type": "log",
        "exponentformat": "power",
        "dtick": 2,
        "range": [frame.above_bottom(0), math.log10(frame.top) + 0.4],
    }
    layout["xaxis"] |= _ticks(grid, frame)
    layout["annotations"] = [
        _arrow(item.lambda_max, item.subject, frame, i)
        for i, item in enumerate(series)
        if item.lambda_max is not None
    ]
    layout["shapes"] = [
        upright(frame.x(item.edge), color=item.subject.mark.color)
        for item in series
        if item.edge is not None
    ]
    return layout


def _arrow(lambda_max: float, subject: Subject, frame: _Frame, row: int) -> dict[str, Any]:
    """Points at the largest eigenvalue."""
    return {
        "text": f"λ<sub>max</sub> {number(lambda_max)}",
        "x": frame.x(lambda_max),
        "y": frame.above_bottom(0.7 + 0.3 * row),
        "showarrow": True,
        "arrowhead": 2,
        "arrowsize": 0.8,
        "arrowcolor": subject.mark.color,
        "ax": -24,
        "ay": -34 - 22 * row,
        "font": {"size": 12},
    }


def symlog(value: float, scale: float) -> float:
    """Linear within ±`scale`, one unit a decade beyond."""
    return math.copysign(math.log10(1 + abs(value) / scale), value)


def _scale(grid: Sequence[float]) -> float:
    """A power of ten about a hundredth of the largest eigenvalue; the same for all models on
    one grid.
    """
    largest = max(map(abs, grid)) or 1.0
    return 10.0 ** math.floor(math.log10(largest) - 2 + 0.3)


def _ticks(grid: Sequence[float], frame: _Frame) -> dict[str, Any]:
    low, high = min(grid), max(grid)
    decades = [frame.scale * 10**k for k in range(1, 9)]
    candidates = [*(-value for value in reversed(decades)), 0.0, *decades]
    values = [value for value in candidates if low <= value <= high or value == 0]
    return {
        "tickvals": [frame.x(value) for value in values],
        "ticktext": [number(value) for value in values],
    }


def _extremes(series: Sequence[Spectrum]) -> str:
    """Of many models, between which two the largest eigenvalues lie."""
    known = [(item.lambda_max, item) for item in series if item.lambda_max is not None]
    if not known:
        return "The largest eigenvalue is not known yet."
    least, most = (pick(known, key=lambda one: one[0]) for pick in (min, max))
    return (
        f"Of {len(known)} models the largest eigenvalue is lowest for {least[1].subject.phrase}, "
        f"{with_error(least[0], least[1].lambda_max_error)}, and highest for "
        f"{most[1].subject.phrase}, {with_error(most[0], most[1].lambda_max_error)}."
    )


def _finding(series: Sequence[Spectrum]) -> str:
    known = [
        (item, item.lambda_max, with_error(item.lambda_max, item.lambda_max_error))
        for item in series
        if item.lambda_max is not None
    ]
    if not known:
        return "The largest eigenvalue is not known yet."
    parts = [f"{item.subject.phrase} is {words}" for item, _, words in known]
    text = f"The largest eigenvalue of {', that of '.join(parts)}"
    if len(known) == 2:
        text += _flatter(*((item.subject, value) for item, value, _ in known))
    counts = [
        f"{count} eigenvalue{'' if count == 1 else 's'} of {item.subject.phrase}"
        for item, *_ in known
        if (count := item.outliers()) is not None
    ]
    if counts:
        text += f". Beyond the bulk (dotted line) lie at least {', '.join(counts)}"
    return text + "."


def _flatter(first: tuple[Subject, float], second: tuple[Subject, float]) -> str:
    """Which of two models is flatter along its steepest direction, and how many times."""
    flat, steep = sorted((second, first), key=lambda pair: pair[1])
    if flat[1] <= 0:
        return ""
    times = steep[1] / flat[1]
    if times < 1.05:
        return "; both are about as steep"
    return f"; along its steepest direction {flat[0].phrase} is {number(times, 2)} times flatter"
