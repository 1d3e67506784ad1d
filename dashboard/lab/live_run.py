"""A run in progress: its state, its chart, and the buttons that pause, resume and stop it."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from dashboard.charts.ghost import with_ghost
from dashboard.charts.layers import left_out
from dashboard.charts.race import told_along
from dashboard.charts.registry import LIVE, draw_outline, draw_run
from dashboard.charts.titles import lane_title
from dashboard.kit import library, run_card, running, visitor
from dashboard.kit.estimate import queue
from dashboard.kit.library import ModelRun
from dashboard.kit.show import show
from dashboard.kit.submit import show_refusal
from dashboard.lab import along, forks, ghosts, valley
from ngf.runs.folder import OPEN, UNFINISHED, Status
from ngf.runs.log import Outline
from ngf.runs.store import PurifyRun

_PATIENCE = 0.5  # seconds that the page waits for the events of a long run; its charts get the rest
_HEIGHT = 350  # a screen 720 pixels high has room for it, its slider and what stands above


def show_live(run: ModelRun) -> None:
    """State, buttons and the chart of a training or a purification; all of it moves while the run
    goes on. Beside a race lies its valley map, once it is known.
    """
    status, outline = run.status, run.outline(_PATIENCE)
    running.on_page(run)
    words, press = st.columns([3, 2], vertical_alignment="center")
    with press:
        _buttons(run, status)
    watched = status in UNFINISHED
    with words:
        if watched:  # also when paused: somebody else may resume it
            _watch(run.id, status)
        else:
            run_card.show_state(run, outline)
    run_card.show_error(run)
    _about(run)
    if isinstance(run, PurifyRun):
        _race(run, outline, watched)
    else:
        _chart(run, outline, watched)


def _race(run: PurifyRun, outline: Outline, watched: bool) -> None:
    """The curves, and beside them the valley map once it is known, at the same step."""
    found = valley.measurement(run)
    places = [st.container()] if found is None else st.columns([3, 2], gap="medium")
    with places[0]:
        _chart(run, outline, watched, steps_of(run))
        along.show_curvature(run, steps_of(run))
    if found is not None:
        with places[1]:
            valley.show_valley(run, found, steps_of(run))


def _about(run: ModelRun) -> None:
    """What there is to know of a run besides its state."""
    before = run.status == "done" and run.id not in st.session_state.get("lab.started", [])
    st.caption(
        library.plain(library.describe(run))
        + (" · computed before, so shown at once" if before else "")
    )
    if run.status in ("queued", "lost") and not library.store().supervised:
        st.warning(
            "Nothing executes runs at the moment. `make dashboard` starts what does.",
            icon=":material/power_off:",
        )


def steps_of(run: PurifyRun) -> str:
    """The name of the charts of a race that show the same step."""
    return f"race.{run.id}"


def _chart(run: ModelRun, outline: Outline, watched: bool, steps: str | None = None) -> None:
    name = LIVE[run.kind]
    chart = draw_outline(name, run.spec, outline)
    if isinstance(run, PurifyRun) and not watched and outline.whole and outline.every == 1:
        chart = replace(chart, findings=told_along(run.spec, outline))
    behind = ghosts.chosen(run) if isinstance(run, PurifyRun) else None
    if behind is not None and isinstance(run, PurifyRun):
        chart = with_ghost(chart, run.spec, outline, ghosts.ghost_of(behind))
    # The key changes when a run is started again, so that its chart polls anew.
    can_fork = isinstance(run, PurifyRun) and not watched and bool(forks.kept(run))
    pressed = show(
        chart,
        f"live.{run.id}.{run.request.get('queued_at', '')}",
        name=f"{name} curves",
        of=[run],
        height=_HEIGHT,
        scrub=not watched,
        steps=steps,
        fork=can_fork,
        url=_route(run, name, behind) if watched or not outline.whole else None,
    )
    if isinstance(run, PurifyRun):
        if can_fork:
            forks.choose(run, pressed)
        ghosts.choose(run)


def show_recorded(run: PurifyRun) -> None:
    """A race that ships, of the model that is chosen: what one of one's own will look like."""
    st.caption(
        f":material/movie: **Recorded**: {library.plain(library.describe(run))}. Press Start to "
        "run your own on this machine."
    )
    _race(run, run.outline(_PATIENCE), watched=False)


def _route(run: ModelRun, chart: str, behind: PurifyRun | None = None) -> str:
    """Where the chart is polled until it is whole and the run is over."""
    route = f"api/runs/{run.id}/charts/{chart}"
    return f"{route}?ghost={behind.id}" if behind else route


@st.fragment(run_every=1)
def _watch(run_id: str, drawn: str) -> None:
    """Only text, once per second; the whole page runs again when the state changes."""
    run = library.find(run_id)
    if run is None or run.status != drawn:
        st.rerun()
    run_card.show_state(run, run.outline(_PATIENCE))
    if drawn == "queued":
        st.caption(queue(run))


def _buttons(run: ModelRun, status: Status) -> None:
    if run.source != "user" or status not in OPEN:
        return
    if refusal := visitor.why_not(run):
        st.caption(f":material/visibility: {refusal}")
        return
    show_refusal("live")
    with st.container(horizontal=True, horizontal_alignment="right"):
        running.show_buttons(run, status)


def show_internals(run: PurifyRun) -> None:
    """How the layers were chosen, and what happened inside the steps."""
    outline = run.outline(_PATIENCE)
    if any(event["type"] == "layer" for event in outline):
        st.subheader("Which layer was chosen")
        for event in outline:
            if event["type"] == "chosen" and event.get("why"):
                st.markdown(f"{lane_title(event['lane'])}: {library.plain(event['why'])}")
        show(
            draw_run("layers", run.spec, outline),
            f"layers.{run.id}",
            name="layer scores",
            of=[run],
            height=300,
        )
    else:
        for sentence in left_out(outline):
            st.caption(sentence)
    st.subheader("Inside the steps")
    chart = draw_outline("internals", run.spec, outline)
    panels = sum(name.startswith("yaxis") for name in chart.figure["layout"])
    show(
        chart,
        f"internals.{run.id}",
        name="inside the steps",
        of=[run],
        height=max(320, 40 + 140 * panels),
        url=None if outline.whole else _route(run, "internals"),
    )
