"""A chart that updates in place: a component around `Plotly.react` that polls a JSON route of this
server.

`st.plotly_chart` builds a new figure whenever its data change, which loses zoom and camera, and a
live chart would need a script run for every new point. This component keeps its figure when it
polls and when the script runs again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard.charts.chart import Chart
from dashboard.components.library import script

PLOTLY = "vendor/plotly.min.js"  # served by dashboard.server.api
_HERE = Path(__file__).parent
_MARKUP = '<div class="ngf-live"></div>'
_SCRIPT = script("dress.js", "save.js", "present.js", "live_chart.js")
_STYLE = (_HERE / "live_chart.css").read_text(encoding="utf-8")


# Registered once per process: a second registration under this name would be logged as a duplicate.
_mount = st.components.v2.component(
    "ngf_live_chart", html=_MARKUP, css=_STYLE, js=_SCRIPT, isolate_styles=False
)


def live_chart(
    chart: Chart,
    *,
    key: str,
    url: str | None = None,
    every_ms: int = 500,
    height: int = 380,
    scrub: bool = False,
    autoplay: bool = False,
    link: str | None = None,
    steps: str | None = None,
    title: str = "",
    name: str = "chart",
    about: Sequence[str] = (),
    fork: bool = False,
    pick: Callable[[int, int], None] | None = None,
) -> int | None:
    """Draw `chart` and keep it up to date. Returns the step at which “Fork here” was just pressed.

    key: tells the component from others on the page.
    url: the route that is polled until its answer is final, relative to the page, without a slash
        in front; None for a chart that stays as it is.
    every_ms: milliseconds between two polls.
    height: of the figure, in pixels.
    scrub: adds a slider and a Play button that cut every line at a step.
    autoplay: presses Play once, unless the reader's system asks for reduced motion.
    link: surfaces with the same link turn together, and keep their camera when they change to a
        map and back.
    steps: charts with the same name stand at the same step: that of the one with a slider. On the
        others a ball lies there, on each trace whose number `layout.meta.balls` holds; a way
        across a map is named there as `{"trace": number, "steps": [of each of its points]}`.
    title: over the chart where it fills the window.
    name: of the files that the reader saves of it, without an ending.
    about: lines that go into those files: what the chart is of.
    fork: adds a button “Fork here” beside the slider.
    pick: called with the row and the column of a cell of a heat map when it is clicked, before the
        page is drawn anew.
    """
    if not isinstance(every_ms, int) or every_ms < 50:
        raise ValueError(f"every_ms = {every_ms} is out of range. Allowed: 50 or more.")
    data: dict[str, Any] = {
        "key": key,
        "figure": chart.figure,
        "finding": chart.finding,
        "alt": chart.alt,
        "findings": [[step, said] for step, said in chart.findings.items()],
        "url": url,
        "every": every_ms,
        "height": height,
        "scrub": scrub,
        "autoplay": autoplay,
        "link": link,
        "steps": steps,
        "title": title or name,
        "name": name,
        "about": list(about),
        "fork": fork,
        "pick": pick is not None,
        "lib": PLOTLY,
    }

    def picked() -> None:
        cell = st.session_state[key].get("pick")  # a browser may send anything
        if pick and isinstance(cell, list) and [type(part) for part in cell] == [int, int]:
            pick(*cell)

    sent = _mount(data=data, key=key, on_fork_change=_noted, on_pick_change=picked).get("fork")
    return sent if type(sent) is int and sent >= 0 else None  # a browser may send anything


def _noted() -> None:
    """Streamlit reports a press only to a page that names a callback."""


def preload() -> None:
    """Load the chart library on a page without charts, so that the first chart need not wait."""
    _mount(data={"lib": PLOTLY}, key="live.preload")
