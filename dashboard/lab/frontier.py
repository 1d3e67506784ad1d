"""The frontier: what every strength of every method does to a model of the zoo, measured
beforehand.

A race shows one strength per method; only the frontier shows whether the comparison is fair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard.charts.frontier import RULE, SWEEP, frontier_chart
from dashboard.kit.evidence import evidence
from dashboard.kit.show import show
from ngf.runs.store import TrainRun

_USABLE = 0.85  # models below this clean accuracy are of no use, and would squeeze the picture
Row = Mapping[str, Any]


def show_frontier(trained: TrainRun) -> None:
    """The chart, where the choice of the rule is marked; nothing for models without a sweep."""
    if (found := evidence(f"purification/{trained.id}")) is None:
        return
    rows = ended(found["rows"])
    if not any(row["how"] == SWEEP for row in rows):
        return
    st.header("Was the race fair?")
    st.markdown(
        "A race shows one strength for each method: the radius of the trust region for NGF and the "
        "gradient at equal KL, the learning rate for the others. Here is every strength that was "
        "tried; upper left is best. The ringed one is what a defender would pick, who sees clean "
        "images only: the largest that keeps clean accuracy within one point."
    )
    shown = [row for row in rows if row["ca"] >= _USABLE]
    show(
        frontier_chart(shown),
        f"frontier.{trained.id}",
        name="the frontier",
        of=[trained],
        height=420,
    )
    st.caption(caption(found, rows, len(rows) - len(shown)))


def ended(rows: Sequence[Row]) -> list[Row]:
    """Purifications along the sweep and by rule that did not diverge, methods in the order of the
    sweep.
    """
    order = list(dict.fromkeys(row["method"] for row in rows if row["how"] == SWEEP))
    kept = [row for row in rows if row["how"] in (SWEEP, RULE) and "diverged" not in row]
    order += [row["method"] for row in kept if row["method"] not in order]
    return sorted(kept, key=lambda row: order.index(row["method"]))


def caption(found: Row, rows: Sequence[Row], left_out: int) -> str:
    """What the points are of. left_out: how many are not drawn for their clean accuracy."""

    def seeds(how: str) -> int:
        return len({row["seed"] for row in rows if row["how"] == how})

    out = sum("diverged" in row and row["how"] in (SWEEP, RULE) for row in found["rows"])
    notes = [
        f"{left_out} points below {_USABLE:.0%} clean accuracy are left out.".replace("%", " %")
        if left_out
        else "",
        f"{out} purifications diverged and have no point." if out else "",
    ]
    picked = (
        f", {seeds(RULE)} at the picked strengths (lines: what they span)" if seeds(RULE) else ""
    )
    before = found["before"]
    return " ".join(
        [
            f"*Measured*: one model; {seeds(SWEEP)} purification seeds along the sweep (small "
            f"marks; lines go through their means){picked}. {found['num_clean']} clean images in "
            f"all; strengths are chosen within them by cross-fitting, with the first seed. "
            f"{before['n_clean']:,} clean and {before['n_triggered']:,} triggered test images. "
            "Attack success rates stand on a scale of square roots.",
            *filter(None, notes),
            f"{found['environment']['hardware']}.",
        ]
    )
