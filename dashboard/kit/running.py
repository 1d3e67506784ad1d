"""What the visitor has running, in a bar on every page, and the buttons that pause, resume and stop
a run.

A run that nobody sees any more still takes the machine. So whatever page is open, the visitor's own
run stands in the frame around it, and stays there with how it ended until it was looked at.
"""

from __future__ import annotations

from collections import Counter

import streamlit as st

from dashboard.charts.titles import lane_title, title
from dashboard.kit import estimate, library, visitor
from dashboard.kit.how_far import how_far
from dashboard.kit.library import ModelRun
from dashboard.kit.pages import script
from dashboard.kit.submit import refuse, show_refusal
from ngf.runs.facts import Facts
from ngf.runs.folder import ACTIVE, FINAL, OPEN, UNFINISHED, Status
from ngf.runs.store import PurifyRun, Run

BAR = "running_bar"  # key of the container that the frame makes for it
_SEEN = "running.seen"  # in the session: runs that moved during this visit
_SHOWN = "running.shown"  # in the session: the run, or the sweep, that the page itself shows
_EVERY = 2  # seconds between two looks
_PATIENCE = 0.2  # seconds that the bar waits for the events of a long run
_ORDER = ("running", "queued", "lost", "paused", *FINAL)
# command -> (word on its button, icon, the states in which there is one)
COMMANDS = {
    "pause": ("Pause", ":material/pause:", ACTIVE),
    "resume": ("Resume", ":material/play_arrow:", ("paused",)),
    "cancel": ("Stop", ":material/stop:", OPEN),
}


# ---- the buttons of a run


def show_buttons(run: Run, status: Status, place: str = "") -> None:
    """The buttons that this visitor may press; `place` tells those of the bar from others."""
    for command, (word, icon, states) in COMMANDS.items():
        if status in states:
            st.button(
                word,
                icon=icon,
                key=f"{place}{command}.{run.id}",
                on_click=_send,
                args=(run.id, command),
                shortcut=None if place else {"pause": "P", "resume": "P"}.get(command),
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


# ---- the bar


def on_page(run: Run) -> None:
    """Say that the page shows this run: then it needs no bar."""
    st.session_state[_SHOWN] = run.id
    seen = st.session_state.setdefault(_SEEN, [])
    if run.status in FINAL:
        forget(run.id)
    elif run.id not in seen:
        seen.append(run.id)


def on_page_of(sweep: str) -> None:
    """Say that the page shows this sweep."""
    st.session_state[_SHOWN] = sweep


def new_page() -> None:
    """For the frame, before the page: it has not said yet what it shows."""
    st.session_state.pop(_SHOWN, None)


def forget(run_id: str) -> None:
    """The visitor knows how this run ended."""
    seen = st.session_state.get(_SEEN, [])
    if run_id in seen:
        seen.remove(run_id)


def in_bar() -> list[tuple[ModelRun, Status]]:
    """The visitor's own runs that move, and those that moved during this visit, but for the one
    that the page shows, and those of sweeps; what runs comes first.
    """
    seen = st.session_state.setdefault(_SEEN, [])
    me = visitor.visitor()
    found: list[tuple[ModelRun, Status]] = []
    for run, facts in library.store().look().facts.items():
        if run.source != "user" or not isinstance(run, ModelRun) or not _is_own(facts, me):
            continue
        if facts.request["sweep"]:  # hundreds of runs would be as many to dismiss
            continue
        if run.id == st.session_state.get(_SHOWN) or (facts.ended and run.id not in seen):
            continue
        status = run.status
        if status in (*ACTIVE, "lost") and run.id not in seen:
            seen.append(run.id)
        if run.id in seen:
            found.append((run, status))
    return sorted(found, key=lambda item: _ORDER.index(item[1]))


def sweeps_in_bar() -> dict[str, int]:
    """The visitor's own sweeps that move, but for the one that the page shows -> runs to go."""
    me = visitor.visitor()
    return Counter(
        facts.request["sweep"]
        for facts in library.store().look().facts.values()
        if facts.request["sweep"] not in ("", st.session_state.get(_SHOWN))
        and not facts.ended
        and facts.command not in ("pause", "cancel")
        and _is_own(facts, me)
    )


def _is_own(facts: Facts, me: visitor.Visitor) -> bool:
    """Whether this visitor has started it; from the terminal counts for the machine's browser."""
    owner = facts.request["owner"]
    return owner == me.id or (me.machine and not owner)


def show_bar() -> None:
    """The bar, which looks again by itself while something in it can change."""
    found, sweeps = in_bar(), sweeps_in_bar()
    drawn = [(run.id, status) for run, status in found]
    if drawn or sweeps:
        moves = sweeps or any(status in UNFINISHED for _, status in drawn)
        (st.fragment(_draw, run_every=_EVERY) if moves else _draw)(drawn, list(sweeps))


def _draw(drawn: list[tuple[str, Status]], sweeps_drawn: list[str]) -> None:
    found, sweeps = in_bar(), sweeps_in_bar()
    if [(run.id, status) for run, status in found] != drawn or list(sweeps) != sweeps_drawn:
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if found:
            _draw_run(*found[0])
        if len(found) > 1:
            st.page_link(script("runs"), label=f"and {len(found) - 1} more")
        for name, left in list(sweeps.items())[:1]:
            st.markdown(
                f":material/grid_on: **Sweep**: {left:,} run{'' if left == 1 else 's'} to go"
            )
            st.page_link(
                script("sweeps"),
                label="Show",
                icon=":material/visibility:",
                query_params={"view": "follow", "sweep": name},
            )
    show_refusal("live")


def _draw_run(run: ModelRun, status: Status) -> None:
    st.markdown(sentence(run, status))
    st.page_link(
        script("lab"),
        label="Show",
        icon=":material/visibility:",
        query_params={"run": run.id},
    )
    show_buttons(run, status, "bar.")
    if status in FINAL:
        st.button(
            "Dismiss",
            icon=":material/close:",
            key=f"bar.dismiss.{run.id}",
            on_click=forget,
            args=(run.id,),
        )


def sentence(run: ModelRun, status: Status) -> str:
    """`**Running**: BadNets · NGF vs SGD, NGF step 40 of 100, ... · about 20 s left`"""
    text = f":material/{library.ICONS[status]}: **{library.STATES[status]}**: {_name(run)}"
    if status not in UNFINISHED:
        return text
    far = how_far(run.outline(_PATIENCE))
    text += f", {far.words}" if far.words else ""
    if status == "running" and far.seconds is not None and not far.until:
        text += f" · {estimate.words(far.seconds)} left"
    return text


def _name(run: ModelRun) -> str:
    """`BadNets · NGF vs SGD`, or `training, Blend`"""
    origin = run.training()
    if origin is None:
        attack = "a model that is gone"
    elif origin.spec.imported:
        attack = "imported model"
    else:
        attack = title("attacks", origin.spec.attack.name)
    if isinstance(run, PurifyRun):
        return f"{attack} · {' vs '.join(lane_title(lane) for lane in run.spec.lane_names())}"
    return f"training, {attack}"
