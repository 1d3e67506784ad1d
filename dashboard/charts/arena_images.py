"""What each method leaves, and costs, with fewer or more clean images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboard.charts.arena_titles import Methods, arena_title
from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import DASHES, base_layout, lane_mark, line, percent

Row = Mapping[str, Any]
QUANTITIES = {"asr": "Attack success rate left (%)", "ca_lost": "Clean accuracy lost (points)"}


def images_chart(rows: Sequence[Row], names: Sequence[str], what: str, methods: Methods) -> Chart:
    """A line per method over the number of clean images, on a logarithmic axis.

    rows: {num_clean, method, models, asr, ca_lost, seconds} of the table `images` of arena.json.
    what: of QUANTITIES.
    """
    kept = [row for row in rows if row["method"] in names]
    traces = []
    for k, name in enumerate(names):
        own = sorted((r for r in kept if r["method"] == name), key=lambda row: row["num_clean"])
        if own:
            mark = lane_mark(str(methods[name]["name"]))
            traces.append(
                line(
                    arena_title(name, methods),
                    [row["num_clean"] for row in own],
                    [round(100 * row[what], 3) for row in own],
                    mark.color,
                    dash=DASHES[k % len(DASHES)],
                    symbol=mark.symbol,
                    hovertemplate="%{x} clean images: %{y:.1f}<extra>%{fullData.name}</extra>",
                )
            )
    counts = sorted({row["num_clean"] for row in kept})
    layout = base_layout(
        "Clean images that the defender has",
        QUANTITIES[what],
        showlegend=True,
        xaxis={"type": "log", "tickvals": counts, "ticktext": [f"{count:,}" for count in counts]},
    )
    table = [
        {
            "Method": arena_title(row["method"], methods),
            "Clean images": row["num_clean"],
            "ASR left (%)": round(100 * row["asr"], 2),
            "CA lost (points)": round(100 * row["ca_lost"], 2),
            "Models": row["models"],
        }
        for row in kept
    ]
    return make_chart(traces, layout, table, _finding(kept, methods))


def _finding(rows: Sequence[Row], methods: Methods) -> str:
    """Which method leaves least with the fewest images."""
    if not rows:
        return ""
    fewest = min(row["num_clean"] for row in rows)
    best = min((row for row in rows if row["num_clean"] == fewest), key=lambda row: row["asr"])
    return (
        f"With {fewest} clean images the least is left by {arena_title(best['method'], methods)}, "
        f"{percent(best['asr'])}, at {100 * best['ca_lost']:.1f} points of clean accuracy."
    )
