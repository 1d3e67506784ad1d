"""A race that branches off another one: from which of its models, after which step."""

from __future__ import annotations

import streamlit as st

from dashboard.charts.titles import lane_title
from dashboard.kit import library, url
from ngf.config import Fork
from ngf.options import SpecError
from ngf.runs.folder import steps_at, waypoints
from ngf.runs.store import PurifyRun, TrainRun

KEY = "lab.fork"  # in the session: what the next race starts from, as in `PurifySpec.start`
_AT = "lab.fork.at"  # run and step at which “Fork here” was pressed last


def restore(text: str) -> None:
    """Take the choice from a new address."""
    try:
        fork = Fork.parse(text) if text else None
    except SpecError:
        fork = None
    source = library.find(fork.run) if fork else None
    if text and not isinstance(source, PurifyRun):
        url.ignore(
            "lab",
            f"fork “{text}” names no step of a purification of this store, so the next race "
            "starts from the model as it came.",
        )
    st.session_state[KEY] = str(fork) if fork and isinstance(source, PurifyRun) else ""


def kept(run: PurifyRun) -> dict[str, list[int]]:
    """The steps that a race can be forked at, by lane: those whose weights it has kept."""
    found = {lane: steps_at(run.path / waypoints(lane)) for lane in run.sound_lanes()}
    return {lane: steps for lane, steps in found.items() if steps}


def choose(run: PurifyRun, pressed: int | None) -> None:
    """After “Fork here” was pressed: which model, after which of the steps that were kept."""
    if pressed is not None:
        st.session_state[_AT] = run.id, pressed
    of, at = st.session_state.get(_AT, ("", 0))
    if of != run.id:
        return
    lanes = kept(run)
    with st.container(border=True):
        lane = st.segmented_control(
            "Fork which model",
            list(lanes),
            default=next(iter(lanes)),
            required=True,
            format_func=lane_title,
            key=f"lab.fork.lane.{run.id}",
        )
        steps = lanes[lane]
        step = st.select_slider(
            "After step",
            steps,
            value=min(steps, key=lambda step: abs(step - at)),
            key=f"lab.fork.step.{run.id}.{lane}.{at}",
        )
        if at not in steps:
            st.caption(
                f"The weights of step {at:,} were not kept; those of {len(steps)} steps were, the "
                "nearest is chosen."
            )
        st.button(
            f"Start the next race from {lane_title(lane)} after step {step:,}",
            icon=":material/fork_right:",
            key="lab.fork.take",
            on_click=_take,
            args=(Fork(run.id, lane, step),),
        )


def _take(fork: Fork) -> None:
    st.session_state[KEY] = str(fork)
    st.session_state.pop(_AT, None)


def start_of(trained: TrainRun) -> str:
    """What the next race of this model starts from; a fork of another model's race stays out."""
    text = st.session_state.get(KEY, "")
    source = library.find(Fork.parse(text).run) if text else None
    own = isinstance(source, PurifyRun) and source.spec.parent == trained.id
    return text if own else ""


def show_start(trained: TrainRun) -> None:
    """Says what the next race starts from, where that is a fork, with the way back."""
    if not (text := start_of(trained)):
        return
    st.caption(f":material/fork_right: The next race starts from {library.plain(in_words(text))}.")
    st.button(
        "Start from the model as it came",
        icon=":material/undo:",
        key="lab.fork.none",
        on_click=_take_back,
    )


def _take_back() -> None:
    st.session_state[KEY] = ""


def in_words(text: str) -> str:
    """`NGF after step 43 of ngf-vs-sgd-0123456789`"""
    fork = Fork.parse(text)
    return f"{lane_title(fork.lane)} after step {fork.step:,} of {fork.run}"
