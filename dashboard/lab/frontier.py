"""The frontier: what every learning rate of every method does to one zoo model, measured
beforehand.

A race shows one learning rate a method; whether the comparison is fair is seen here only.
"""

from __future__ import annotations

import json
from typing import Any

import streamlit as st

from dashboard.charts.frontier import frontier_chart
from dashboard.kit.show import show
from ngf import places
from ngf.runs.store import Run

_SCOPES = {"layer": "One layer", "all": "All layers"}
_USABLE = (
    0.85  # below this clean accuracy a purified model is of no use, and would squeeze the picture
)


def _evidence(model: Run) -> dict[str, Any] | None:
    path = places.ASSETS / "evidence" / "runs" / f"{model.id}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def show_frontier(model: Run) -> None:
    """The chart with the rule's picks, for a model that was measured; nothing for others."""
    found = _evidence(model)
    if found is None:
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
    # The last linear layer and the layer sweep reuse a rate; one point a method and rate is enough.
    unique = {
        (point["method"], point["lr"]): point | {"picked": bool(point.get("picked"))}
        for point in sorted(points, key=lambda point: bool(point.get("picked")))
    }
    shown = [point for point in unique.values() if point["ca"] >= _USABLE]
    show(frontier_chart(shown), f"frontier.{model.id}.{scope}", name="the frontier", height=380)
    left_out = len(unique) - len(shown)
    about = (
        f"{left_out} points below {_USABLE:.0%} clean accuracy are left out. " if left_out else ""
    )
    st.caption(
        f"*Measured*: {points[0]['steps']} steps from one seed, {found['num_clean']} clean images; "
        f"CA and ASR on {points[0]['n']:,} test images each. {about}BatchNorm in train mode. "
        f"{found['environment']['hardware']}."
    )
