"""The spectrum of the Hessian or the Fisher information: how many directions are flat, how
many steep.
"""

from __future__ import annotations

import math
from typing import Any

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import (
    base_layout,
    escape,
    faint,
    model_colors,
    number,
    the_model,
    with_error,
)

_DECADES = 7  # of the density that are shown: below, it is nothing but the tail of the smoothing
_DASHES = ("solid", "dash", "dot", "dashdot")


def spectrum_chart(series: list[dict[str, Any]]) -> Chart:
    """`series`: dicts {name, grid, density, eigenvalues, lambda_max, lambda_max_error}, and for the
    number of outliers residuals and lambda_min; matrix: whose spectrum it is, by default the
    Hessian's.

    The x axis is linear near zero and logarithmic beyond (symlog), the y axis logarithmic. Short
    strokes below the curve are the Ritz values, the marked point is the largest eigenvalue, the
    dotted line the edge of the bulk.
    """
    series = [item for item in series if len(item["grid"])]
    scale = _scale([float(x) for item in series for x in item["grid"]])
    colors = model_colors([item["name"] for item in series])
    top = max((float(y) for item in series for y in item["density"]), default=1.0) or 1.0
    traces = []
    for i, item in enumerate(series):
        name, color = escape(item["name"]), colors[item["name"]]
        pairs = [(float(x), float(y)) for x, y in zip(item["grid"], item["density"], strict=True)]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": name,
                "x": [round(symlog(x, scale), 5) for x, _ in pairs],
                "y": [max(y, top * 10.0 ** -(_DECADES + 1)) for _, y in pairs],
                "customdata": [number(x) for x, _ in pairs],
                "fill": "tozeroy",
                "fillcolor": faint(color, 0.1),
                "line": {"color": color, "width": 2.5, "dash": _DASHES[i % 4]},
                "hovertemplate": (
                    f"eigenvalue %{{customdata}}<br>density %{{y:.2g}}<extra>{name}</extra>"
                ),
            }
        )
        ritz = sorted({float(value) for value in item["eigenvalues"]})
        height = top * 10.0 ** (0.35 + 0.3 * i - _DECADES)
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"{name}, Ritz values",
                "showlegend": False,
                "x": [round(symlog(x, scale), 5) for x in ritz],
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
        )
    matrix = series[0].get("matrix", "Hessian") if series else "Hessian"
    layout = base_layout(
        f"Eigenvalue of the {matrix} (symlog)", "Density", showlegend=len(series) > 1
    )
    layout["yaxis"] |= {
        "type": "log",
        "exponentformat": "power",
        "dtick": 2,
        "range": [math.log10(top) - _DECADES, math.log10(top) + 0.4],
    }
    layout["xaxis"] |= _ticks([x for item in series for x in item["grid"]], scale)
    layout["annotations"] = [
        {
            "text": f"λ<sub>max</sub> {number(item['lambda_max'])}",
            "x": symlog(item["lambda_max"], scale),
            "y": math.log10(top) - _DECADES + 0.7 + 0.3 * i,
            "showarrow": True,
            "arrowhead": 2,
            "arrowsize": 0.8,
            "arrowcolor": colors[item["name"]],
            "ax": -24,
            "ay": -34 - 22 * i,
            "font": {"size": 12},
        }
        for i, item in enumerate(series)
        if item.get("lambda_max") is not None
    ]
    layout["shapes"] = [
        {
            "type": "line",
            "x0": symlog(edge, scale),
            "x1": symlog(edge, scale),
            "y0": 0,
            "y1": 1,
            "yref": "paper",
            "line": {"color": colors[item["name"]], "width": 1, "dash": "dot"},
        }
        for item in series
        if (edge := bulk_edge(item)) is not None
    ]
    rows = [
        {"Model": item["name"], "Eigenvalue": x, "Density": y}
        for item in series
        for x, y in zip(item["grid"], item["density"], strict=True)
    ]
    return make_chart(traces, layout, rows, _finding(series))


def bulk_edge(item: dict[str, Any]) -> float | None:
    """How far the bulk reaches: as far as the negative side, which has no outliers of its own at a
    minimum.

    None before the smallest eigenvalue is known, and where none is negative.
    """
    low = item.get("lambda_min")
    return -low if low is not None and low < 0 and len(item.get("residuals", ())) else None


def outliers(item: dict[str, Any]) -> int | None:
    """At least so many eigenvalues lie beyond the edge: Ritz values whose intervals are above it
    and disjoint.

    An eigenvalue lies within its Ritz value's residual, so disjoint intervals hold different
    eigenvalues.
    """
    edge = bulk_edge(item)
    if edge is None:
        return None
    count, last = 0, edge
    for value, residual in sorted(zip(item["eigenvalues"], item["residuals"], strict=True)):
        if value - residual > last:
            count, last = count + 1, value + residual
    return count


def symlog(value: float, scale: float) -> float:
    """Linear within ±`scale`, one unit a decade beyond."""
    return math.copysign(math.log10(1 + abs(value) / scale), value)


def _scale(grid: list[float]) -> float:
    """A power of ten about a hundredth of the largest eigenvalue; the same for all models on
    one grid.
    """
    largest = max((abs(x) for x in grid), default=1.0) or 1.0
    return 10.0 ** math.floor(math.log10(largest) - 2 + 0.3)


def _ticks(grid: list[float], scale: float) -> dict[str, Any]:
    low, high = min(grid, default=0.0), max(grid, default=1.0)
    values = [0.0]
    for k in range(1, 9):
        values += [value for value in (-scale * 10**k, scale * 10**k) if low <= value <= high]
    return {
        "tickvals": [symlog(value, scale) for value in sorted(values)],
        "ticktext": [number(value) for value in sorted(values)],
    }


def _finding(series: list[dict[str, Any]]) -> str:
    known = [item for item in series if item.get("lambda_max") is not None]
    if not known:
        return "The largest eigenvalue is not known yet."

    def value(item: dict[str, Any]) -> str:
        error = item.get("lambda_max_error")
        return with_error(item["lambda_max"], error)

    words = ", that of ".join(f"{the_model(item['name'])} is {value(item)}" for item in known)
    text = f"The largest eigenvalue of {words}"
    if len(known) == 2 and min(item["lambda_max"] for item in known) > 0:
        first, second = known
        ratio = first["lambda_max"] / second["lambda_max"]
        flat, times = (second, ratio) if ratio >= 1 else (first, 1 / ratio)
        text += (
            f"; along its steepest direction {the_model(flat['name'])} is {number(times, 2)} times "
            "flatter"
            if times >= 1.05
            else "; both are about as steep"
        )
    counted = [(item, found) for item in known if (found := outliers(item)) is not None]
    if counted:
        text += ". Beyond the bulk (dotted line) lie at least " + ", ".join(
            f"{found} eigenvalue{'' if found == 1 else 's'} of {the_model(item['name'])}"
            for item, found in counted
        )
    return text + "."
