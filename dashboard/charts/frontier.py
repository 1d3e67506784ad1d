"""The trade-off: clean accuracy against attack success rate for every learning rate of every
method.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.rates import percents
from dashboard.charts.style import (
    DASHES,
    Mark,
    Trace,
    base_layout,
    escape,
    lane_marks,
    number,
    percent,
)
from dashboard.charts.titles import lane_title

Point = Mapping[str, Any]
_RIGHT = 75  # attack success rate in percent beyond which a label stands left of its point


def frontier_chart(points: Iterable[Point]) -> Chart:
    """`points`: dicts {method, lr, ca, asr, picked}; one line per method in the order of its
    learning rates.
    """
    by_method: dict[str, list[Point]] = {}
    for point in points:
        if point.get("ca") is not None and point.get("asr") is not None:
            by_method.setdefault(point["method"], []).append(point)
    marks = lane_marks(list(by_method))
    traces, labels = [], []
    for i, (method, own) in enumerate(by_method.items()):
        ordered = sorted(own, key=lambda point: point["lr"])
        picked = [point for point in ordered if point.get("picked")]
        traces.append(_line(method, ordered, marks[method], DASHES[i % len(DASHES)]))
        traces += [_ring(point, marks[method].color) for point in picked]
        labels += [_label(point) for point in picked]
    layout = base_layout(
        "Attack success rate (%), lower is better",
        "Clean accuracy (%), higher is better",
        showlegend=len(by_method) > 1,
        annotations=labels,
        xaxis={"range": [-4, 104]},
    )
    rows = [_row(point) for own in by_method.values() for point in own]
    finding = "; ".join(_said(method, own) for method, own in by_method.items())
    return make_chart(traces, layout, rows, finding + "." * bool(finding))


def _place(point: Point) -> tuple[float | None, float | None]:
    return percents(point["asr"]), percents(point["ca"])


def _line(method: str, points: Sequence[Point], mark: Mark, dash: str) -> Trace:
    name = escape(lane_title(method))
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": [percents(point["asr"]) for point in points],
        "y": [percents(point["ca"]) for point in points],
        "customdata": [number(point["lr"]) for point in points],
        "line": {"color": mark.color, "dash": dash, "width": 2},
        "marker": {"color": mark.color, "symbol": mark.symbol, "size": 8},
        "hovertemplate": f"learning rate %{{customdata}}<br>clean accuracy %{{y:.1f}} %<br>"
        f"attack success rate %{{x:.1f}} %<extra>{name}</extra>",
    }


def _ring(point: Point, color: str) -> Trace:
    """Around what a defender would pick."""
    x, y = _place(point)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"{escape(lane_title(point['method']))}, picked",
        "x": [x],
        "y": [y],
        "showlegend": False,
        "hoverinfo": "skip",
        "marker": {"color": color, "size": 18, "symbol": "circle-open", "line": {"width": 2.5}},
    }


def _label(point: Point) -> dict[str, Any]:
    x, y = _place(point)
    left = 100 * point["asr"] > _RIGHT
    return {
        "text": f"{escape(lane_title(point['method']))}, lr {number(point['lr'])}",
        "x": x,
        "y": y,
        "showarrow": True,
        "arrowhead": 0,
        "arrowwidth": 1,
        "ax": -40 if left else 40,
        "ay": 30,
        "xanchor": "right" if left else "left",
    }


def _row(point: Point) -> dict[str, Any]:
    return {
        "Method": lane_title(point["method"]),
        "Learning rate": point["lr"],
        "Clean accuracy (%)": percents(point["ca"]),
        "Attack success rate (%)": percents(point["asr"]),
        "Picked": bool(point.get("picked")),
    }


def _said(method: str, points: Sequence[Point]) -> str:
    """The picked rate of a method, or the one that does best against the attack."""
    best = next((point for point in points if point.get("picked")), None)
    verb = (
        "at the picked learning rate"
        if best
        else "at its lowest attack success rate, learning rate"
    )
    best = best or min(points, key=lambda point: point["asr"])
    return (
        f"{lane_title(method)} {verb} {number(best['lr'])} has an attack success rate of "
        f"{percent(best['asr'])} and a clean accuracy of {percent(best['ca'])}"
    )
