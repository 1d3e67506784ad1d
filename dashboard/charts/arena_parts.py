"""What each part of NGF does to the attack success rate that is left, with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import GRAY, METHODS, base_layout, escape, faint, signed, upright

Row = Mapping[str, Any]


def parts_chart(rows: Sequence[Row]) -> Chart:
    """One mark per part, left of zero where it helps.

    rows: {what, asr, asr_low, asr_high, ca_lost, p, ...} of the table `parts` of arena.json.
    """
    mark = METHODS["ngf"]
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": [round(100 * row["asr"], 3) for row in rows],
            "y": list(range(len(rows))),
            "error_x": {
                "type": "data",
                "symmetric": False,
                "array": [round(100 * (row["asr_high"] - row["asr"]), 3) for row in rows],
                "arrayminus": [round(100 * (row["asr"] - row["asr_low"]), 3) for row in rows],
                "thickness": 1.5,
                "width": 4,
                "color": faint(mark.color, 0.6),
            },
            "marker": {"color": mark.color, "symbol": mark.symbol, "size": 10},
            "customdata": [_hover(row) for row in rows],
            "hovertemplate": "%{customdata}<extra></extra>",
        }
    ]
    layout = base_layout(
        "Attack success rate: points more (right) or less (left) with it",
        "",
        yaxis={
            "tickvals": list(range(len(rows))),
            "ticktext": [f"{escape(row['what'])}  " for row in rows],
            "range": [len(rows) - 0.5, -0.5],
            "title": {"text": ""},
            "showgrid": False,
        },
        shapes=[upright(0, color=GRAY)],
    )
    return make_chart(traces, layout, [_table_row(row) for row in rows], _finding(rows))


def _hover(row: Row) -> str:
    return (
        f"{escape(row['what'])}<br>{signed(row['asr'])} points of attack success "
        f"({signed(row['asr_low'])} to {signed(row['asr_high'])}), Holm's p {row['p']:g}<br>"
        f"{signed(row['ca_lost'])} points of clean accuracy lost"
    )


def _table_row(row: Row) -> dict[str, Any]:
    return {
        "With, not without": row["what"],
        "ASR (points)": round(100 * row["asr"], 2),
        "95 % from": round(100 * row["asr_low"], 2),
        "95 % to": round(100 * row["asr_high"], 2),
        "Holm's p": row["p"],
        "CA lost (points)": round(100 * row["ca_lost"], 2),
        "CA lost from": round(100 * row["ca_lost_low"], 2),
        "CA lost to": round(100 * row["ca_lost_high"], 2),
        "Attacks": row["attacks"],
        "Models": row["models"],
    }


def _finding(rows: Sequence[Row]) -> str:
    """The part that takes away most, of those whose interval leaves zero out."""
    sure = [row for row in rows if row["p"] < 0.05]
    if not sure:
        return "No part is told from having none by these models."
    most = min(sure, key=lambda row: row["asr"])
    rest = [row["what"] for row in rows if row not in sure]
    said = f"{most['what'].capitalize()}: {signed(most['asr'])} points, the most of any part."
    return f"{said} Not told from no difference: {'; '.join(rest)}." if rest else said
