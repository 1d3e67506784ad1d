"""What a chart is: a figure, the table behind it, and one true sentence about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

NOTHING = "Nothing measured yet."


@dataclass(frozen=True)
class Chart:
    """`figure` is plain JSON in Plotly's form, `finding` one sentence computed from the data, and
    `rows` are those of its table.

    `alt` tells a reader who cannot see the figure what is on it; by default the finding does.
    `findings` are sentences for a figure that is cut at a step, by that step, ascending.
    """

    figure: dict[str, Any]
    rows: Sequence[Mapping[str, Any]]
    finding: str
    alt: str = ""
    findings: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "alt", self.alt or self.finding)

    @cached_property
    def table(self) -> pd.DataFrame:
        """Made when somebody looks at it: most charts are only drawn."""
        return pd.DataFrame(list(self.rows))


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
    rows = list(rows)
    return Chart(
        {"data": traces, "layout": layout},
        rows,
        finding if rows else NOTHING,
        alt if rows else "",
    )
