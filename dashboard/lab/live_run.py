"""A run in progress: its state, its chart, and the buttons that pause, resume and stop it."""

from __future__ import annotations

import streamlit as st

from dashboard.charts.layers import left_out
from dashboard.charts.registry import LIVE, draw_outline, draw_run
from dashboard.charts.titles import lane_title
from dashboard.kit import library, run_card, visitor
from dashboard.kit.estimate import queue
from dashboard.kit.library import ModelRun
from dashboard.kit.show import show
from dashboard.kit.submit import refuse, show_refusal
from ngf.runs.folder import ACTIVE, OPEN, UNFINISHED
from ngf.runs.store import PurifyRun

_PATIENCE = 0.5  # seconds that the page waits for the events of a long run; its charts get the rest
# command -> (word on its button, icon, the states in which there is one)
_COMMANDS = {
    "pause": ("Pause", ":material/pause:", ACTIVE),
    "resume": ("Resume", ":material/play_arrow:", ("paused",)),
    "cancel": ("Stop", ":material/stop:", OPEN),
}


def show_live(run: ModelRun) -> None:
    """State, buttons and the chart of a training or a purification; all of it moves while the run
    goes on.
    """
    status, outline = run.status, run.outline(_PATIENCE)
    _buttons(run, status)
    watched = status in UNFINISHED
    if watched:  # also when paused: somebody else may resume it
        _watch(run.id, status)
    else:
        run_card.show_state(run, outline)
    run_card.show_error(run)
    name = LIVE[run.kind]
    # The key changes when a run is started again, so that its chart polls anew.
    show(
        draw_outline(name, run.spec, outline),
        f"live.{run.id}.{run.request.get('queued_at', '')}",
        name=f"{name} curves",
        of=[run],
        scrub=not watched,
        url=_route(run, name) if watched or not outline.whole else None,
    )


def _route(run: ModelRun, chart: str) -> str:
    """Where the chart is polled until it is whole and the run is over."""
    return f"api/runs/{run.id}/charts/{chart}"


@st.fragment(run_every=1)
def _watch(run_id: str, drawn: str) -> None:
    """Only text, once per second; the whole page runs again when the state changes."""
    run = library.find(run_id)
    if run is None or run.status != drawn:
        st.rerun()
    run_card.show_state(run, run.outline(_PATIENCE))
    if drawn == "queued":
        st.caption(queue(run))


def _buttons(run: ModelRun, status: str) -> None:
    shown = [(command, *about[:2]) for command, about in _COMMANDS.items() if status in about[2]]
    if run.source != "user" or not shown:
        return
    if refusal := visitor.why_not(run):
        st.caption(f":material/visibility: {refusal}")
        return
    show_refusal("live")
    with st.container(horizontal=True):
        for command, word, icon in shown:
            st.button(
                word,
                icon=icon,
                key=f"{command}.{run.id}",
                on_click=_send,
                args=(run.id, command),
                shortcut={"pause": "P", "resume": "P"}.get(command),
            )


def _send(run_id: str, command: str) -> None:
    """Send a command to a run, for a button."""
    run = library.find(run_id)
    refuse("live", None)
    if run is not None:
        try:
            visitor.command(run, command)
        except visitor.NotYours as error:
            refuse("live", error)


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
