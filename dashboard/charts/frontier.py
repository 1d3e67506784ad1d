"""The trade-off: clean accuracy against attack success rate for every strength of every method."""

from __future__ import annotations

import math
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
_TICKS = (0, 1, 5, 10, 25, 50, 75, 100)  # percent


def frontier_chart(rows: Sequence[Row]) -> Chart:
    """One line per method in the order of its strengths, through the means over purification seeds,
    which are drawn beside it; ringed: what the rule picks. Attack success rates stand on a scale of
    square roots, as most methods leave a few percent.

    rows: purifications that ended, dicts {method, how, strength, seed, ca, asr}; `how` is `sweep`
        or `rule`.
    """
    methods = list(dict.fromkeys(row["method"] for row in rows))
    marks = method_marks(methods)
    traces: list[Trace] = []
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
            traces.append(_ring(method, picked, marks[method], in_legend=not means))
    layout = base_layout(
        "Attack success rate (%)",
        "Clean accuracy (%)",
        showlegend=len(methods) > 1,
        xaxis={
            "range": [-0.4, 10.3],
            "tickvals": [_root(tick / 100) for tick in _TICKS],
            "ticktext": [str(tick) for tick in _TICKS],
        },
    )
    return make_chart(traces, layout, [_table_row(row) for row in rows], _finding(methods, rows))


def _root(rate: float) -> float:
    """Where a rate, as a fraction, stands on the axis."""
    return round(10 * math.sqrt(rate), 4)


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
        "x": [_root(point["asr"]) for point in means],
        "y": [percents(point["ca"]) for point in means],
        "customdata": [
            _hover(f"strength {number(point['strength'])}, mean of {point['n']}", point)
            for point in means
        ],
        "line": {"color": mark.color, "dash": dash, "width": 2},
        "marker": {"color": mark.color, "symbol": mark.symbol, "size": 9},
        "hovertemplate": f"%{{customdata}}<extra>{name}</extra>",
    }


def _hover(what: str, row: Row) -> str:
    return (
        f"{what}<br>clean accuracy {percent(row['ca'])}<br>attack success rate "
        f"{percent(row['asr'])}"
    )


def _each(method: str, rows: Sequence[Row], mark: Mark) -> Trace:
    """A small mark for each purification behind the means."""
    name = escape(method_title(method))
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"{name}, each seed",
        "legendgroup": name,
        "showlegend": False,
        "x": [_root(row["asr"]) for row in rows],
        "y": [percents(row["ca"]) for row in rows],
        "customdata": [
            _hover(f"strength {number(row['strength'])}, purification seed {row['seed']}", row)
            for row in rows
        ],
        "marker": {"color": mark.color, "symbol": mark.symbol, "size": 4, "opacity": 0.6},
        "hovertemplate": f"%{{customdata}}<extra>{name}</extra>",
    }


def _ring(method: str, picked: Sequence[Row], mark: Mark, in_legend: bool) -> Trace:
    """The method's mark in a ring: what a defender would pick, at the mean over purification seeds,
    with what they span.
    """
    (asr, least, most), (y, below, above) = (_span(picked, rate) for rate in ("asr", "ca"))
    x, low, high = (_root(rate / 100) for rate in (asr, least, most))
    name = escape(method_title(method))
    said = f"picked: strength {number(_strength(picked))}, mean of {len(picked)}"
    told = _hover(said, {"ca": y / 100, "asr": asr / 100})
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name if in_legend else f"{name}, picked",
        "legendgroup": name,
        "x": [x, x],
        "y": [y, y],
        "error_x": _error(x - low, high - x, mark.color),
        "error_y": _error(y - below, above - y, mark.color),
        "showlegend": in_legend,
        "customdata": [told, told],
        "hovertemplate": f"%{{customdata}}<extra>{name}</extra>",
        "marker": {
            "color": mark.color,
            "size": [9, 20],
            "symbol": [mark.symbol, "circle-open"],
            "line": {"width": [0, 2.5]},
        },
    }


def _span(rows: Sequence[Row], rate: str) -> tuple[float, float, float]:
    """Mean, lowest and highest, in percent."""
    values = [100 * row[rate] for row in rows]
    return round(fmean(values), 3), round(min(values), 3), round(max(values), 3)


def _error(below: float, above: float, color: str) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [round(above, 3), 0],
        "arrayminus": [round(below, 3), 0],
        "thickness": 1.2,
        "width": 0,
        "color": faint(color, 0.55),
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


def _finding(methods: Sequence[str], rows: Sequence[Row]) -> str:
    """Which of the rule's picks leaves least, and which most; without one, the lowest mean of each
    sweep.
    """
    by = {
        method: [row for row in rows if row["method"] == method and row["how"] == RULE]
        for method in methods
    }
    picked = {method: own for method, own in by.items() if own}
    if not picked:
        said = [words for method in methods if (words := _lowest(method, rows)) is not None]
        return f"{'; '.join(said)}." if said else ""
    ranked = sorted(picked, key=lambda method: _span(picked[method], "asr")[0])
    least = _picked(ranked[0], picked[ranked[0]])
    if len(ranked) == 1:
        return f"Picked by the rule: {least}."
    most = _picked(ranked[-1], picked[ranked[-1]])
    return (
        f"Of {len(ranked)} methods at the strength that the rule picks, the least is left by "
        f"{least}; the most by {most}."
    )


def _picked(method: str, rows: Sequence[Row]) -> str:
    """`NGF, all layers at 0.03: attack success rate 0.2 % (0.1 to 0.3 over 5 seeds), clean accuracy
    98.5 %`
    """
    asr, low, high = _span(rows, "asr")
    told = f" ({low:.1f} to {high:.1f} over {len(rows)} seeds)" if len(rows) > 1 else ""
    return (
        f"{method_title(method)} at {number(_strength(rows))}: attack success rate {asr:.1f} "
        f"%{told}, clean accuracy {percent(fmean(row['ca'] for row in rows))}"
    )


def _lowest(method: str, rows: Sequence[Row]) -> str | None:
    means = _means([row for row in rows if row["method"] == method and row["how"] == SWEEP])
    if not means:
        return None
    best = min(means, key=lambda point: point["asr"])
    return (
        f"{method_title(method)} has its lowest attack success rate, {percent(best['asr'])}, at "
        f"strength {number(best['strength'])} with a clean accuracy of {percent(best['ca'])}"
    )
