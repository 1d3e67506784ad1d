"""What charts of ratios and areas share: rows with their words above them, intervals, and how much
a number rests on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboard.charts.style import GRAY, Trace

Row = Mapping[str, Any]
_COUNTED = (
    ("models", "model", "models"),
    ("attacks", "attack", "attacks"),
    ("benign", "benign model", "benign models"),
    ("purification_seeds", "purification seed", "purification seeds"),
)
_TICKS = (0.02, 0.05, 0.1, 0.2, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 50)


def rests_on(n: Mapping[str, int]) -> str:
    """`45 models, 15 attacks, 17 benign models`"""
    return ", ".join(
        f"{n[key]:,} {one if n[key] == 1 else many}" for key, one, many in _COUNTED if n.get(key)
    )


def interval(low: float, high: float) -> str:
    return f"{low:.2f} to {high:.2f}"


def side(low: float, high: float) -> str:
    """On which side of 1 an interval of a ratio lies, in words."""
    return "sharper" if low > 1 else "smoother" if high < 1 else "no clear difference"


def row_words(texts: Sequence[str], above: float = 0.36) -> list[dict[str, Any]]:
    """One line of words above each row, at the left: beside it there is no room on a phone.

    above: how far, in rows.
    """
    return [
        {
            "name": "words",  # drawn on a ground, so that no line crosses them
            "text": text,
            "x": 0,
            "xref": "paper",
            "xanchor": "left",
            "y": place - above,
            "yref": "y",
            "yanchor": "middle",
            "align": "left",
            "showarrow": False,
        }
        for place, text in enumerate(texts)
    ]


def row_axis(count: int) -> dict[str, Any]:
    """Rows from top to bottom, without ticks."""
    return {
        "range": [count - 0.5, -0.65],
        "showticklabels": False,
        "showgrid": False,
        "title": {"text": ""},
    }


def ratio_axis(values: Sequence[float]) -> dict[str, Any]:
    """Logarithmic, with 1 on it."""
    low, high = min([*values, 0.8]), max([*values, 1.25])
    ticks = [tick for tick in _TICKS if low / 1.1 <= tick <= high * 1.1]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}


def whiskers(rows: Sequence[Row], value: str) -> Trace:
    """Intervals of `rows` around their `value`."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [row["high"] - row[value] for row in rows],
        "arrayminus": [row[value] - row["low"] for row in rows],
        "thickness": 2,
        "width": 5,
        "color": GRAY,
    }
