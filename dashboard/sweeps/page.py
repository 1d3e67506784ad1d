"""Sweeps: every combination of some axes, built, followed and drawn while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard.components.live_chart import preload
from dashboard.kit import glossary, library, running, url
from dashboard.kit.submit import say, show_refusal
from dashboard.sweeps import following, form, seeing, starting
from dashboard.sweeps.plan import plan_of
from dashboard.sweeps.results import quantities_of
from ngf.options import SpecError
from ngf.sweeps import folder
from ngf.sweeps.folder import Sweep

VIEWS = {"build": "Build", "follow": "Follow"}
PLACE = form.PLACE


def open_link(asked: Mapping[str, Any]) -> None:
    """Take over what the address says, and say what of it cannot be."""
    if asked["build"]:
        try:
            form.fill(form.read(asked["build"]))
        except SpecError as error:
            url.ignore("sweeps", f"the sweep in the link cannot be read. {error}")
    if asked["sweep"] and asked["sweep"] not in folder.names(library.store()):
        url.ignore("sweeps", f"sweep “{asked['sweep']}” is not in this store.")
    st.session_state["sweeps.sweep"] = asked["sweep"]


def build() -> dict[str, Any]:
    """The view in which a sweep is put together. Returns what the address says of it."""
    left, right = st.columns([3, 2], gap="large")
    with left:
        try:
            spec = form.choose()
        except SpecError as error:
            show_refusal(PLACE)
            say(error)
            return {"view": "build"}
    with right:
        show_refusal(PLACE)
        try:
            starting.show_plan(plan_of(spec))
        except SpecError as error:
            say(error)
            starting.show_texts(spec)
    return {"view": "build", "build": form.in_address(spec)}


def follow(asked: Mapping[str, Any] | None) -> dict[str, Any]:
    """The view of one sweep. asked: by a link that has just been opened."""
    sweep = following.choose()
    if sweep is None:
        return {"view": "follow"}
    running.on_page_of(sweep.id)
    seen = following.look(sweep)
    rows = seen.rows()
    every = following.every(sweep, seen)
    drawn = every is not None, tuple(quantities_of(sweep.spec, rows))
    st.fragment(watch, run_every=every)(sweep, drawn)
    view = seeing.choose(sweep, rows, asked)
    st.fragment(draw, run_every=every)(sweep, view)
    glossary.explain(*glossary.RATES)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Build another like it",
            icon=":material/edit:",
            key="sweeps.edit",
            on_click=edit,
            args=(sweep.id,),
            help="The form opens with this one. A changed sweep is another sweep: this one stays, "
            "and what both have in common is computed once.",
        )
        st.caption(f"In a terminal: `python -m ngf sweep show {sweep.id}`, pause, resume, cancel.")
    starting.show_texts(sweep.spec)
    return {"view": "follow", "sweep": sweep.id, **view.address()}


def watch(sweep: Sweep, drawn: tuple[bool, tuple[str, ...]]) -> None:
    """The state, again and again; the whole page is drawn anew when there is something new to
    choose, or nothing more to wait for.
    """
    seen = following.look(sweep)
    quantities = tuple(quantities_of(sweep.spec, seen.rows()))
    if (following.moves(seen.states()), quantities) != drawn:
        st.rerun()
    following.show_progress(sweep, seen)


def draw(sweep: Sweep, view: seeing.View) -> None:
    """The picture, as results come in."""
    seeing.show_results(sweep, following.look(sweep).rows(), view)


def edit(name: str) -> None:
    """Open the form with a sweep that is there, for a button."""
    form.fill(following.load(name).spec)
    st.session_state["sweeps.view"] = "build"


with st.container(key="sweeps_head", horizontal=True, vertical_alignment="center", gap="medium"):
    st.title("Sweeps", width="content")
    view_in = st.container(width="content")
asked, fresh = url.follow("sweeps")
url.restore_widgets("sweeps", {"view": asked["view"]}, fresh)
if fresh:
    open_link(asked)
if started := st.session_state.pop(starting.STARTED, ""):
    st.session_state["sweeps.view"], st.session_state["sweeps.sweep"] = "follow", started
url.notice("sweeps")
view = view_in.segmented_control(
    "What to do",
    list(VIEWS),
    format_func=VIEWS.__getitem__,
    key="sweeps.view",
    required=True,
    label_visibility="collapsed",
)
url.write("sweeps", follow(asked if fresh else None) if view == "follow" else build())
preload()
