"""What a defense costs against what it leaves: every model, and each method's mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboard.charts.arena_titles import Methods, arena_title
from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import GRAY, base_layout, escape, faint, lane_mark, listed, percent

Row = Mapping[str, Any]
_TICKS = (0, 1, 5, 10, 25, 50, 75, 100)  # percent


def cost_chart(rows: Sequence[Row], models: Sequence[Row], methods: Methods) -> Chart:
    """Clean accuracy lost over ASR left, which stands on a scale of square roots. A dotted line
    joins the methods that no other beats in both (the Pareto front).

    rows: of the table `methods` of arena.json.
    models: of its table `models`, drawn faintly.
    """
    kept = [row for row in rows if row["asr"] is not None]
    front = pareto(kept)
    traces: list[dict[str, Any]] = []
    for row in kept:
        own = [one for one in models if one["method"] == row["method"] and one["asr"] is not None]
        color = lane_mark(str(methods[row["method"]]["name"])).color
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [_root(one["asr"]) for one in own],
                "y": [round(100 * one["ca_lost"], 3) for one in own],
                "marker": {"color": faint(color, 0.35), "size": 4},
                "hoverinfo": "skip",
                "showlegend": False,
            }
        )
    on = [row for row in kept if row["method"] in front]
    on.sort(key=lambda row: row["asr"])
    traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "x": [_root(row["asr"]) for row in on],
            "y": [round(100 * row["ca_lost"], 3) for row in on],
            "line": {"color": GRAY, "dash": "dot", "width": 1.5},
            "hoverinfo": "skip",
            "showlegend": False,
        }
    )
    traces += [_mark(row, row["method"] in front, methods) for row in kept]
    layout = base_layout(
        "Attack success rate left (%)",
        "Clean accuracy lost (points)",
        xaxis={
            "range": [-0.3, 10.3],
            "tickvals": [_root(tick / 100) for tick in _TICKS],
            "ticktext": [str(tick) for tick in _TICKS],
        },
    )
    table = [_table_row(row, row["method"] in front, methods) for row in kept]
    return make_chart(traces, layout, table, _finding(on, methods))


def pareto(rows: Sequence[Row]) -> set[str]:
    """The methods that no other beats in what is left and in what it costs."""
    return {
        row["method"]
        for row in rows
        if not any(
            other["asr"] <= row["asr"]
            and other["ca_lost"] <= row["ca_lost"]
            and (other["asr"], other["ca_lost"]) != (row["asr"], row["ca_lost"])
            for other in rows
        )
    }


def _root(rate: float) -> float:
    return round(10 * max(0.0, rate) ** 0.5, 4)


def _mark(row: Row, on_front: bool, methods: Methods) -> dict[str, Any]:
    mark = lane_mark(str(methods[row["method"]]["name"]))
    title = escape(arena_title(row["method"], methods))
    return {
        "type": "scatter",
        "mode": "markers+text" if on_front else "markers",
        "name": title,
        "text": [title] if on_front else None,
        "textposition": "top center",
        "x": [_root(row["asr"])],
        "y": [round(100 * row["ca_lost"], 3)],
        "marker": {"color": mark.color, "symbol": mark.symbol, "size": 11},
        "hovertemplate": (
            f"{title}<br>ASR left {percent(row['asr'])}, clean accuracy lost %{{y:.1f}} points"
            "<extra></extra>"
        ),
    }


def _table_row(row: Row, on_front: bool, methods: Methods) -> dict[str, Any]:
    return {
        "Method": arena_title(row["method"], methods),
        "ASR left (%)": round(100 * row["asr"], 2),
        "CA lost (points)": round(100 * row["ca_lost"], 2),
        "No other beats it in both": on_front,
        "Attacks": row["attacks"],
        "Models": row["models"],
    }


def _finding(on: Sequence[Row], methods: Methods) -> str:
    if not on:
        return ""
    said = [
        f"{arena_title(row['method'], methods)} ({percent(row['asr'])} left, "
        f"{100 * row['ca_lost']:.1f} points)"
        for row in on
    ]
    return f"No other method beats these in both, on average over attacks: {listed(said)}."
