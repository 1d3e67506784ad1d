"""What each method leaves, and costs, with fewer or more images: clean ones that the defender has,
or poisoned ones that the attacker had.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dashboard.charts.arena_titles import Methods, arena_title
from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import DASHES, base_layout, lane_mark, line, percent

Row = Mapping[str, Any]
QUANTITIES = {"asr": "Attack success rate left (%)", "ca_lost": "Clean accuracy lost (points)"}


@dataclass(frozen=True)
class Axis:
    """key: of a row. title: of the axis. column: of the table. said: a value in words."""

    key: str
    title: str
    column: str
    said: Callable[[float], str]


CLEAN = Axis(
    "num_clean",
    "Clean images that the defender has",
    "Clean images",
    lambda count: f"{count:,} clean images",
)
POISONED = Axis(
    "poison_rate",
    "Share of the training images that were poisoned",
    "Poisoning rate",
    lambda rate: f"{100 * rate:g} % poisoned",
)


def images_chart(
    rows: Sequence[Row], names: Sequence[str], what: str, methods: Methods, axis: Axis = CLEAN
) -> Chart:
    """A line per method over the number or share of images, on a logarithmic axis.

    rows: {the axis's key, method, models, asr, ca_lost, ...} of a table of arena.json.
    what: of QUANTITIES.
    """
    kept = [row for row in rows if row["method"] in names]
    traces = []
    for k, name in enumerate(names):
        own = sorted((r for r in kept if r["method"] == name), key=lambda row: row[axis.key])
        if own:
            mark = lane_mark(str(methods[name]["name"]))
            traces.append(
                line(
                    arena_title(name, methods),
                    [row[axis.key] for row in own],
                    [round(100 * row[what], 3) for row in own],
                    mark.color,
                    dash=DASHES[k % len(DASHES)],
                    symbol=mark.symbol,
                    hovertemplate="%{x}: %{y:.1f}<extra>%{fullData.name}</extra>",
                )
            )
    values = sorted({row[axis.key] for row in kept})
    layout = base_layout(
        axis.title,
        QUANTITIES[what],
        showlegend=True,
        xaxis={"type": "log", "tickvals": values, "ticktext": [_tick(axis, v) for v in values]},
    )
    table = [
        {
            "Method": arena_title(row["method"], methods),
            axis.column: row[axis.key],
            "ASR left (%)": round(100 * row["asr"], 2),
            "CA lost (points)": round(100 * row["ca_lost"], 2),
            "Models": row["models"],
        }
        for row in kept
    ]
    return make_chart(traces, layout, table, _finding(kept, methods, axis))


def _tick(axis: Axis, value: float) -> str:
    return f"{value:,}" if axis is CLEAN else f"{100 * value:g} %"


def _finding(rows: Sequence[Row], methods: Methods, axis: Axis) -> str:
    """Which method leaves least with the fewest images."""
    if not rows:
        return ""
    fewest = min(row[axis.key] for row in rows)
    best = min((row for row in rows if row[axis.key] == fewest), key=lambda row: row["asr"])
    return (
        f"With {axis.said(fewest)} the least is left by {arena_title(best['method'], methods)}, "
        f"{percent(best['asr'])}, at {100 * best['ca_lost']:.1f} points of clean accuracy."
    )
