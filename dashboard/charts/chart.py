"""What a chart is: a figure, the table behind it, and one true sentence about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

NOTHING = "Nothing measured yet."


@dataclass(frozen=True)
class Chart:
    """`figure` is plain JSON in Plotly's form, `finding` one sentence computed from the data.

    `alt` tells a reader who cannot see the figure what is on it; by default the finding does.
    """

    figure: dict[str, Any]
    table: pd.DataFrame
    finding: str
    alt: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "alt", self.alt or self.finding)


def make_chart(
    traces: list[dict[str, Any]],
    layout: dict[str, Any],
    rows: Iterable[Mapping[str, Any]],
    finding: str,
    alt: str = "",
) -> Chart:
    """A chart from its parts; the table's columns are the keys of `rows`. No rows: nothing
    measured yet.
    """
    table = pd.DataFrame(list(rows))
    return Chart(
        {"data": traces, "layout": layout},
        table,
        finding if len(table) else NOTHING,
        alt if len(table) else "",
    )
