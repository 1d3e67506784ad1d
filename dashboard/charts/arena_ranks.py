"""The methods of the arena in the order of their mean rank over attacks, with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboard.charts.arena_titles import Methods, arena_title
from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import base_layout, escape, faint, lane_mark, listed

Row = Mapping[str, Any]


def rank_chart(rows: Sequence[Row], methods: Methods) -> Chart:
    """The best on top. rows: {method, rank, rank_low, rank_high, asr, ca_lost, ...} of the table
    `methods` of arena.json; those without a rank are left out.
    """
    ranked = sorted((row for row in rows if row["rank"] is not None), key=lambda row: row["rank"])
    layout = base_layout(
        "Mean rank over attacks by the ASR left (1 is best)",
        "",
        xaxis={"range": [0.5, len(ranked) + 0.5]},
        yaxis={
            "tickvals": list(range(len(ranked))),
            "ticktext": [f"{escape(arena_title(row['method'], methods))}  " for row in ranked],
            "range": [len(ranked) - 0.5, -0.5],
            "title": {"text": ""},
            "showgrid": False,
        },
    )
    traces = [_mark(row, place, methods) for place, row in enumerate(ranked)]
    return make_chart(
        traces, layout, [_table_row(row, methods) for row in ranked], _finding(ranked, methods)
    )


def _mark(row: Row, place: int, methods: Methods) -> dict[str, Any]:
    title = escape(arena_title(row["method"], methods))
    mark = lane_mark(str(methods[row["method"]]["name"]))
    return {
        "type": "scatter",
        "mode": "markers",
        "name": title,
        "x": [row["rank"]],
        "y": [place],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [round(row["rank_high"] - row["rank"], 3)],
            "arrayminus": [round(row["rank"] - row["rank_low"], 3)],
            "thickness": 1.5,
            "width": 4,
            "color": faint(mark.color, 0.6),
        },
        "marker": {"color": mark.color, "symbol": mark.symbol, "size": 9},
        "hovertemplate": (
            f"{title}<br>mean rank %{{x:.1f}} ({row['rank_low']:.1f} to {row['rank_high']:.1f})"
            "<extra></extra>"
        ),
    }


def _table_row(row: Row, methods: Methods) -> dict[str, Any]:
    return {
        "Method": arena_title(row["method"], methods),
        "Mean rank": row["rank"],
        "95 % from": row["rank_low"],
        "95 % to": row["rank_high"],
        "Attacks": row["attacks"],
        "Models": row["models"],
    }


def _finding(ranked: Sequence[Row], methods: Methods) -> str:
    """The first, and those that the attacks tried do not tell from it."""
    if not ranked:
        return ""
    first = ranked[0]
    alike = [row for row in ranked[1:] if row["rank_low"] <= first["rank_high"]]
    said = (
        f"{arena_title(first['method'], methods)} has the best mean rank, {first['rank']:.1f} "
        f"({first['rank_low']:.1f} to {first['rank_high']:.1f}) among {len(ranked)} methods over "
        f"{first['attacks']} attacks"
    )
    if not alike:
        return f"{said}; no other interval reaches it."
    named = [arena_title(row["method"], methods) for row in alike]
    told = named[:4] + ([f"{len(named) - 4} more"] if len(named) > 4 else [])
    return f"{said}; intervals that overlap with it: {listed(told)}."
