"""The way of some methods on one model of the arena: what is left of a backdoor, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboard.charts.arena_titles import Methods, arena_title
from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import DASHES, base_layout, lane_mark, line

Row = Mapping[str, Any]
RATES = {"asr": "Attack success rate (%)", "ca": "Clean accuracy (%)"}
AXES = {"seconds": "Seconds on one core", "step": "Steps"}


def curve_chart(rows: Sequence[Row], rate: str, axis: str, methods: Methods) -> Chart:
    """A line per method. rows: of the table `curves` of arena.json, all of one model.

    rate: of RATES; a benign model has no success rate, and no line. axis: of AXES.
    """
    shown = [row for row in rows if None not in row[rate]]
    traces = []
    for k, row in enumerate(shown):
        mark = lane_mark(str(methods[row["method"]]["name"]))
        traces.append(
            line(
                arena_title(row["method"], methods),
                row[axis],
                [round(100 * value, 2) for value in row[rate]],
                mark.color,
                dash=DASHES[k % len(DASHES)],
                symbol=mark.symbol,
                hovertemplate="%{x}: %{y:.1f} %<extra>%{fullData.name}</extra>",
            )
        )
    layout = base_layout(AXES[axis], RATES[rate], showlegend=True, yaxis={"range": [-3, 103]})
    table = [
        {
            "Method": arena_title(row["method"], methods),
            "Step": row["step"][k],
            "Seconds": row["seconds"][k],
            RATES[rate]: round(100 * row[rate][k], 2),
        }
        for row in shown
        for k in range(len(row["step"]))
    ]
    return make_chart(traces, layout, table, _finding(shown, rate, methods))


def _finding(rows: Sequence[Row], rate: str, methods: Methods) -> str:
    """Where each line ends."""
    ends = [f"{arena_title(row['method'], methods)} at {100 * row[rate][-1]:.1f} %" for row in rows]
    return f"Ends: {', '.join(ends)}." if ends else ""
