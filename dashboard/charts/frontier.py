"""The trade-off: clean accuracy against attack success rate for every strength of every method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.method import method_marks, method_title
from dashboard.charts.rates import percents
from dashboard.charts.style import (
    DASHES,
    Mark,
    Trace,
    base_layout,
    escape,
    faint,
    number,
    percent,
)

Row = Mapping[str, Any]
SWEEP, RULE = "sweep", "rule"  # how the strength of a row came about
_RIGHT = 75  # attack success rate in percent beyond which a label stands left of its point


def frontier_chart(rows: Sequence[Row]) -> Chart:
    """One line per method in the order of its strengths, through the means over purification seeds,
    which are drawn beside it; ringed: what the rule picks.

    rows: purifications that ended, dicts {method, how, strength, seed, ca, asr}; `how` is `sweep`
        or `rule`.
    """
    methods = list(dict.fromkeys(row["method"] for row in rows))
    marks = method_marks(methods)
    traces: list[Trace] = []
    labels: list[dict[str, Any]] = []
    for i, method in enumerate(methods):
        own = [row for row in rows if row["method"] == method]
        swept = [row for row in own if row["how"] == SWEEP]
        picked = [row for row in own if row["how"] == RULE]
        means = _means(swept)
        if means:
            traces.append(_line(method, means, marks[method], DASHES[i % len(DASHES)]))
        if len(swept) > len(means):
            traces.append(_each(method, swept, marks[method]))
        if picked:
            traces.append(_ring(method, picked, marks[method].color))
            labels.append(_label(method, picked))
    layout = base_layout(
        "Attack success rate (%), lower is better",
        "Clean accuracy (%), higher is better",
        showlegend=len(methods) > 1,
        annotations=labels,
        xaxis={"range": [-4, 104]},
    )
    finding = "; ".join(said for method in methods if (said := _said(method, rows)) is not None)
    return make_chart(
        traces, layout, [_table_row(row) for row in rows], finding + "." * bool(finding)
    )


def _means(rows: Sequence[Row]) -> list[Row]:
    """One per strength, rising: mean rates over purification seeds, and how many these are."""
    by: dict[float, list[Row]] = {}
    for row in rows:
        by.setdefault(row["strength"], []).append(row)
    return [
        {
            "strength": strength,
            "ca": fmean(row["ca"] for row in by[strength]),
            "asr": fmean(row["asr"] for row in by[strength]),
            "n": len(by[strength]),
        }
        for strength in sorted(by)
    ]


def _line(method: str, means: Sequence[Row], mark: Mark, dash: str) -> Trace:
    name = escape(method_title(method))
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "legendgroup": name,
        "x": [percents(point["asr"]) for point in means],
        "y": [percents(point["ca"]) for point in means],
        "customdata": [
            f"strength {number(point['strength'])}, mean of {point['n']}" for point in means
        ],
        "line": {"color": mark.color, "dash": dash, "width": 2},
        "marker": {"color": mark.color, "symbol": mark.symbol, "size": 9},
        "hovertemplate": "%{customdata}<br>clean accuracy %{y:.1f} %<br>"
        f"attack success rate %{{x:.1f}} %<extra>{name}</extra>",
    }


def _each(method: str, rows: Sequence[Row], mark: Mark) -> Trace:
    """A small mark for each purification behind the means."""
    name = escape(method_title(method))
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"{name}, each seed",
        "legendgroup": name,
        "showlegend": False,
        "x": [percents(row["asr"]) for row in rows],
        "y": [percents(row["ca"]) for row in rows],
        "customdata": [
            f"strength {number(row['strength'])}, purification seed {row['seed']}" for row in rows
        ],
        "marker": {"color": mark.color, "symbol": mark.symbol, "size": 4, "opacity": 0.6},
        "hovertemplate": "%{customdata}<br>clean accuracy %{y:.1f} %<br>"
        f"attack success rate %{{x:.1f}} %<extra>{name}</extra>",
    }


def _ring(method: str, picked: Sequence[Row], color: str) -> Trace:
    """Around what a defender would pick, at the mean over purification seeds, with what they
    span.
    """
    (x, low, high), (y, below, above) = (_span(picked, rate) for rate in ("asr", "ca"))
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"{escape(method_title(method))}, picked",
        "legendgroup": escape(method_title(method)),
        "x": [x],
        "y": [y],
        "error_x": _error(x - low, high - x, color),
        "error_y": _error(y - below, above - y, color),
        "showlegend": False,
        "hoverinfo": "skip",
        "marker": {"color": color, "size": 18, "symbol": "circle-open", "line": {"width": 2.5}},
    }


def _span(rows: Sequence[Row], rate: str) -> tuple[float, float, float]:
    """Mean, lowest and highest, in percent."""
    values = [100 * row[rate] for row in rows]
    return round(fmean(values), 3), round(min(values), 3), round(max(values), 3)


def _error(below: float, above: float, color: str) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [round(above, 3)],
        "arrayminus": [round(below, 3)],
        "thickness": 1.2,
        "width": 0,
        "color": faint(color, 0.55),
    }


def _label(method: str, picked: Sequence[Row]) -> dict[str, Any]:
    x, y = (_span(picked, rate)[0] for rate in ("asr", "ca"))
    left = x > _RIGHT
    return {
        "text": f"{escape(method_title(method))}, {number(_strength(picked))}",
        "x": x,
        "y": y,
        "showarrow": True,
        "arrowhead": 0,
        "arrowwidth": 1,
        "ax": -40 if left else 40,
        "ay": 30,
        "xanchor": "right" if left else "left",
    }


def _strength(picked: Sequence[Row]) -> float:
    """The rule chooses once for each model and method."""
    return float(median(row["strength"] for row in picked))


def _table_row(row: Row) -> dict[str, Any]:
    return {
        "Method": method_title(row["method"]),
        "Strength": row["strength"],
        "Picked by the rule": row["how"] == RULE,
        "Purification seed": row["seed"],
        "Clean accuracy (%)": percents(row["ca"]),
        "Attack success rate (%)": percents(row["asr"]),
    }


def _said(method: str, rows: Sequence[Row]) -> str | None:
    """What the rule's pick leaves; without one, the lowest mean of the sweep."""
    own = [row for row in rows if row["method"] == method]
    picked = [row for row in own if row["how"] == RULE]
    if picked:
        asr, low, high = _span(picked, "asr")
        told = f" ({low:.1f} to {high:.1f} over {len(picked)} seeds)" if len(picked) > 1 else ""
        return (
            f"{method_title(method)} at the picked strength {number(_strength(picked))} has an "
            f"attack success rate of {asr:.1f} %{told} and a clean accuracy of "
            f"{percent(fmean(row['ca'] for row in picked))}"
        )
    means = _means([row for row in own if row["how"] == SWEEP])
    if not means:
        return None
    best = min(means, key=lambda point: point["asr"])
    return (
        f"{method_title(method)} has its lowest attack success rate, {percent(best['asr'])}, at "
        f"strength {number(best['strength'])} with a clean accuracy of {percent(best['ca'])}"
    )
