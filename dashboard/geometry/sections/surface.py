"""The surface: the loss on a plane, as maps or on one floor in three dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dashboard.charts.registry import ChartOptions
from dashboard.charts.style import percent
from dashboard.charts.subject import Measured
from dashboard.geometry.section import (
    Section,
    beside,
    explain,
    measured_on,
    submitted,
    switch,
)
from dashboard.kit.measuring import View
from dashboard.kit.readings import findings

PLANES = {
    "models": "Through the models",
    "steepest": "Two steepest directions",
    "random": "Two random directions",
    "eigenvectors": "Two steepest, each in its own unit",
}
VIEWS = {"contour": "Map", "surface": "3-D"}
CANNOT = (
    "Two directions out of tens of thousands. Almost all random planes miss the few "
    "steep directions, so a minimum looks rounder here than it is. What looks like one valley may "
    "be two, and what looks like a wall may have a way around it. Another seed gives another "
    "plane: try a few."
)


def _draw(view: View) -> bool:
    planes = {name: PLANES[name] for name in PLANES if name != "models" or _purified(view)}
    switch("plane", planes)
    pairs = submitted(view.specs("loss_plane"))
    if not pairs:
        return False
    found = findings([run for _, run in pairs])
    shape, which, log = _choose(found)
    beside(
        "planes",
        pairs,
        "geometry.surface",
        "loss on a plane",
        options=[ChartOptions(view=shape, log=log, which=which)] * len(pairs),
        height=560 if shape == "surface" else 420,
        link="surfaces",
    )
    measured_on(pairs, _more(found, shape))
    explain(CANNOT, "surface", "batchnorm")
    return True


def _purified(view: View) -> bool:
    return any(side.role == "purified" for side in view.sides)


def _choose(found: Sequence[Measured]) -> tuple[str, int, bool]:
    """Shape, number of the plane where there are several, and whether heights are logarithms."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        shape = st.segmented_control(
            "Show as",
            list(VIEWS),
            key="geometry.view",
            required=True,
            format_func=VIEWS.__getitem__,
        )
        count = max((len(item.arrays.get("loss", ())) for item in found), default=1)
        which = 0
        if count > 1:
            which = st.segmented_control(
                "Plane",
                list(range(count)),
                key="geometry.which",
                required=True,
                default=0,
                format_func=lambda i: str(i + 1),
            )
        log = st.toggle(
            "Logarithmic", key="geometry.log", help="Height and color by the logarithm of the loss."
        )
    return shape or "contour", which, log


def _more(found: Sequence[Measured], shape: str) -> str:
    shares = [item.values["path_share"] for item in found if item.values.get("path_share")]
    if shares:
        return (
            f"the line is the way of the optimizer, {percent(shares[0], 0)} of whose length lies "
            "in this plane"
        )
    if shape == "surface" and len(found) > 1:
        return "drag to turn; all stand on one floor, with one scale of heights"
    return ""


SECTION = Section(
    heading="The surface",
    question="What does the ground look like when the weights walk along two directions at once?",
    needs=lambda view: ("loss_plane",),
    draw=_draw,
    switched=True,
)
