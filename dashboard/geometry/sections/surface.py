"""The surface section: the loss on a plane, as a map or in three dimensions, turned together."""

from __future__ import annotations

import streamlit as st

from dashboard.charts.registry import ChartOptions
from dashboard.charts.style import percent
from dashboard.geometry.sections import asked, beside, facts, words
from dashboard.kit.measuring import View
from dashboard.kit.readings import findings

PLANES = {
    "random": "Two random directions",
    "eigenvectors": "Two steepest directions",
    "models": "Through the models",
}
CELLS = (21, 41, 81)  # along each axis
VIEWS = {"contour": "Map", "surface": "3-D"}
# A browser gives a page only so many contexts for three dimensions, and each costs a graphics
# card's memory.
MOST_3D = 2


def default_view() -> str:
    """A map on phones, whose screens and graphics are small; else the surface."""
    return "contour" if "Mobi" in (st.context.headers.get("User-Agent") or "") else "surface"


def show_surface(view: View) -> bool:
    """The charts of all models; says whether somebody asked for them."""
    pairs = asked(view.specs("loss_plane"))
    if not pairs:
        return False
    with st.container(horizontal=True, vertical_alignment="bottom"):
        shape = st.segmented_control(
            "Show as", list(VIEWS), key="geometry.view", required=True, format_func=VIEWS.get
        )
        count = max(
            (len(item.arrays.get("loss", ())) for item in findings([run for _, run in pairs])),
            default=1,
        )
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
    titles = [side.subject.title for side, _ in pairs]
    solid = [title for title in st.session_state.get("geometry.solid", []) if title in titles]
    solid = (solid if len(solid) == min(MOST_3D, len(titles)) else titles)[-MOST_3D:]
    options = [
        ChartOptions(view=shape if title in solid else "contour", log=log, which=which)
        for title in titles
    ]
    columns = beside(
        "planes",
        pairs,
        "geometry.surface",
        "loss on a plane",
        options=options,
        height=420,
        link="surfaces",
    )
    if shape == "surface":
        for column, title in zip(columns, titles, strict=False):
            if title not in solid:
                column.button(
                    "Show in 3-D",
                    key=f"geometry.solid.{title}",
                    icon=":material/view_in_ar:",
                    on_click=_make_solid,
                    args=(title, solid),
                    help=(
                        "Two models at a time are shown in three dimensions; the other one "
                        "becomes a map."
                    ),
                )
    shares = [
        item.values["path_share"]
        for item in findings([run for _, run in pairs])
        if item.values.get("path_share") is not None
    ]
    more = "drag to turn; the models turn together" if shape == "surface" and len(pairs) > 1 else ""
    if shares:
        more = (
            f"the line is the way of the optimizer, {percent(shares[0], 0)} of whose length lies "
            "in this plane"
        )
    facts(pairs, more)
    words("surface", "surface", "batchnorm")
    return True


def _make_solid(title: str, solid: list[str]) -> None:
    st.session_state["geometry.solid"] = [*solid, title][-MOST_3D:]
