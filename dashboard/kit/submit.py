"""Asking for runs from a page: through the one door, with one way to say what was refused."""

from __future__ import annotations

import streamlit as st

from dashboard.kit import library
from ngf.config import Spec
from ngf.runs.store import Run
from ngf.runs.submit import REFUSALS, submit


def ask(place: str, *specs: Spec) -> list[Run]:
    """The runs of these specifications, made where there are none yet.

    A refusal is kept for `show_refusal(place)`; what came before it is asked for. For buttons.
    """
    made: list[Run] = []
    refuse(place, None)
    try:
        for spec in specs:
            made.append(submit(spec, library.store(), library.owner()))
    except REFUSALS as error:
        refuse(place, error)
    return made


def refuse(place: str, error: Exception | None) -> None:
    """Keep a refusal that came before anything could be asked for; None: there is none now."""
    st.session_state[_key(place)] = "" if error is None else words(error)


def show_refusal(place: str) -> None:
    """Why what was asked for last at this place is not there; nothing when it is."""
    if st.session_state.get(_key(place)):
        st.error(st.session_state[_key(place)], icon=":material/block:")


def say(error: Exception) -> None:
    """Show a refusal in the words it came in; nothing that was chosen is lost."""
    st.error(words(error), icon=":material/block:")


def words(error: Exception) -> str:
    """A refusal in the words of whoever raised it."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _key(place: str) -> str:
    return f"{place}.refused"
