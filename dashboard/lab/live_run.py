"""A run as it happens: its chart, its state, and the buttons that pause, resume and stop it."""

from __future__ import annotations

import streamlit as st

from dashboard.charts.registry import LIVE, draw_run
from dashboard.charts.titles import lane_title
from dashboard.kit import library, run_card
from dashboard.kit.estimate import queue
from dashboard.kit.show import show
from ngf.runs.folder import OPEN
from ngf.runs.store import Run

# what a button does, in which states it is there
_COMMANDS = {
    "pause": ("Pause", ":material/pause:", ("queued", "running")),
    "resume": ("Resume", ":material/play_arrow:", ("paused",)),
    "cancel": ("Stop", ":material/stop:", ("queued", "running", "paused")),
}


def show_live(run: Run) -> None:
    """State, buttons and the moving chart of a training or a purification."""
    status, events = run.status, run.events()
    _buttons(run, status)
    watched = status in (*OPEN, "lost")
    if watched:  # also when paused: somebody else may resume it
        _watch(run.id, status)
    else:
        run_card.show_state(run, events)
    run_card.show_error(run)
    name = LIVE[run.spec.kind]
    # A run that is started again is another story: a new key lets its chart poll anew.
    show(
        draw_run(name, run.spec, events),
        f"live.{run.id}.{run.request.get('queued_at', '')}",
        name=f"{name} curves",
        scrub=not watched,
        url=f"/api/runs/{run.id}/charts/{name}" if watched else None,
    )


@st.fragment(run_every=1)
def _watch(run_id: str, drawn: str) -> None:
    """Text only, once a second; draws the whole page anew when the state is another one."""
    run = library.find(run_id)
    if run is None or run.status != drawn:
        st.rerun()
    run_card.show_state(run, run.events())
    if drawn == "queued":
        st.caption(queue(run))


def _buttons(run: Run, status: str) -> None:
    shown = [(command, *about[:2]) for command, about in _COMMANDS.items() if status in about[2]]
    if run.source == "zoo" or not shown:
        return
    with st.container(horizontal=True):
        for command, word, icon in shown:
            st.button(
                word,
                icon=icon,
                key=f"{command}.{run.id}",
                on_click=_control,
                args=(run.id, command),
                shortcut={"pause": "P", "resume": "P"}.get(command),
            )


def _control(run_id: str, command: str) -> None:
    run = library.find(run_id)
    if run is not None:
        run.control(command)


def show_internals(run: Run) -> None:
    """How the layer was chosen and what the steps did inside, behind a click."""
    events = run.events()
    if any(event["type"] == "layer" for event in events):
        st.subheader("Which layer was chosen")
        for event in events:
            if event["type"] == "chosen" and event.get("why"):
                st.markdown(f"{lane_title(event['lane'])}: {event['why']}")
        show(
            draw_run("layers", run.spec, events),
            f"layers.{run.id}",
            name="layer scores",
            height=300,
        )
    st.subheader("Inside the steps")
    chart = draw_run("internals", run.spec, events)
    panels = sum(name.startswith("yaxis") for name in chart.figure["layout"])
    show(
        chart,
        f"internals.{run.id}",
        name="inside the steps",
        height=max(320, 40 + 140 * panels),
    )
