"""The frontier: what every learning rate of every method does to a model of the zoo, measured
beforehand.

A race shows one learning rate per method; only the frontier shows whether the comparison is fair.
"""

from __future__ import annotations

import streamlit as st

from dashboard.charts.frontier import frontier_chart
from dashboard.kit.evidence import evidence
from dashboard.kit.show import show
from ngf.runs.store import TrainRun

_SCOPES = {"layer": "One layer", "all": "All layers"}
_USABLE = 0.85  # models below this clean accuracy are of no use, and would squeeze the picture


def show_frontier(trained: TrainRun) -> None:
    """The chart, where the choice of the rule is marked; nothing for unmeasured models."""
    if (found := evidence(f"runs/{trained.id}")) is None:
        return
    st.header("Was the race fair?")
    layer = found["results"]["ngf, auto layer"]["layer"]
    st.markdown(
        "A race shows one learning rate for each method. Here is every rate that was tried; upper "
        "left is best. The ringed one is what a defender would pick, who sees clean images only: "
        "the largest that keeps clean validation accuracy within one point."
    )
    scope = st.segmented_control(
        "What is tuned",
        list(_SCOPES),
        default="layer",
        required=True,
        key="lab.frontier",
        format_func=lambda name: f"{_SCOPES[name]} ({layer})" if name == "layer" else _SCOPES[name],
    )
    wanted = layer if scope == "layer" else "all"
    points = [
        point for point in found["points"] if point["layer"] == wanted and not point["diverged"]
    ]
    # The last linear layer and the sweep over layers share rates: one point per method and rate.
    unique = {
        (point["method"], point["lr"]): point | {"picked": bool(point.get("picked"))}
        for point in sorted(points, key=lambda point: bool(point.get("picked")))
    }
    shown = [point for point in unique.values() if point["ca"] >= _USABLE]
    show(frontier_chart(shown), f"frontier.{trained.id}.{scope}", name="the frontier", height=380)
    left_out = len(unique) - len(shown)
    note = (
        f"{left_out} points below {_USABLE:.0%} clean accuracy are left out. " if left_out else ""
    )
    st.caption(
        f"*Measured*: {points[0]['steps']} steps from one seed, {found['num_clean']} clean images; "
        f"CA and ASR on {points[0]['n']:,} test images each. {note}BatchNorm in train mode. "
        f"{found['environment']['hardware']}."
    )
