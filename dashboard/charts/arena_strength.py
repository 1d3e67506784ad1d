"""How much of a backdoor each method leaves at three strengths: its default, what a defender's own
images allow, and what an oracle would take that sees the attack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboard.charts.arena_titles import Methods, arena_title
from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import GRAY, base_layout, escape, lane_mark, listed

Row = Mapping[str, Any]
HOWS = {"default": "by default", "rule": "by the rule", "oracle": "by an oracle"}


def strength_chart(rows: Sequence[Row], methods: Methods) -> Chart:
    """A row per method, the least left by the rule on top; the oracle's marks are hollow.

    rows: of the table `strengths` of arena.json.
    """
    shown = sorted(
        (row for row in rows if row["rule_asr"] is not None), key=lambda row: row["rule_asr"]
    )
    traces = [_joined(shown), *(_marks(shown, how, methods) for how in HOWS)]
    layout = base_layout(
        "Attack success rate left (%)",
        "",
        showlegend=True,
        xaxis={"range": [-3, 103]},
        yaxis={
            "tickvals": list(range(len(shown))),
            "ticktext": [f"{escape(arena_title(row['method'], methods))}  " for row in shown],
            "range": [len(shown) - 0.5, -0.5],
            "title": {"text": ""},
            "showgrid": False,
        },
    )
    return make_chart(
        traces, layout, [_table_row(row, methods) for row in shown], _finding(shown, methods)
    )


def _joined(rows: Sequence[Row]) -> dict[str, Any]:
    """A thin line from the least to the most of each method."""
    x: list[float | None] = []
    y: list[float | None] = []
    for place, row in enumerate(rows):
        ends = [100 * row[f"{how}_asr"] for how in HOWS if row[f"{how}_asr"] is not None]
        x += [min(ends), max(ends), None]
        y += [place, place, None]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "line": {"color": GRAY, "width": 1},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _marks(rows: Sequence[Row], how: str, methods: Methods) -> dict[str, Any]:
    there = [(k, row) for k, row in enumerate(rows) if row[f"{how}_asr"] is not None]
    marks = [lane_mark(str(methods[row["method"]]["name"])) for _, row in there]
    shapes = {"default": "line-ns-open", "rule": "circle", "oracle": "circle-open"}
    return {
        "type": "scatter",
        "mode": "markers",
        "name": HOWS[how],
        "x": [round(100 * row[f"{how}_asr"], 3) for _, row in there],
        "y": [k for k, _ in there],
        "marker": {
            "color": GRAY if how == "default" else [mark.color for mark in marks],
            "symbol": shapes[how],
            "size": 9 if how == "rule" else 13,
            "line": {"width": 2, "color": GRAY if how == "default" else [m.color for m in marks]},
        },
        "customdata": [_hover(row, how, methods) for _, row in there],
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _hover(row: Row, how: str, methods: Methods) -> str:
    return (
        f"{escape(arena_title(row['method'], methods))}, {HOWS[how]}<br>"
        f"ASR left {100 * row[f'{how}_asr']:.1f} %<br>"
        f"{100 * row[f'{how}_lost']:.1f} points of clean accuracy lost"
    )


def _table_row(row: Row, methods: Methods) -> dict[str, Any]:
    def hundred(key: str) -> float | None:
        return None if row[key] is None else round(100 * row[key], 2)

    return {
        "Method": arena_title(row["method"], methods),
        **{
            f"{name} {HOWS[how]} ({unit})": hundred(f"{how}_{key}")
            for how in HOWS
            for key, name, unit in (("asr", "ASR left", "%"), ("lost", "CA lost", "points"))
        },
        "Models with an oracle's choice": row["oracle_models"],
        "Models": row["models"],
    }


def _finding(rows: Sequence[Row], methods: Methods) -> str:
    """The first by the rule, and where the rule misses most of what the method could do."""
    if not rows:
        return ""
    first = rows[0]
    said = (
        f"By the rule {arena_title(first['method'], methods)} leaves the least, "
        f"{100 * first['rule_asr']:.1f} %, at {100 * first['rule_lost']:.1f} points."
    )
    both = [row for row in rows if row["oracle_asr"] is not None]
    missed = [row for row in both if row["rule_asr"] - row["oracle_asr"] > 0.2]
    if not missed:
        return said
    named = [arena_title(row["method"], methods) for row in missed]
    told = named[:4] + ([f"{len(named) - 4} more"] if len(named) > 4 else [])
    return (
        f"{said} An oracle would leave over 20 points less with {listed(told)}: they can do more "
        "than clean images tell."
    )
