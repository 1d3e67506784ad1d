"""Submits runs from a page, and shows in one way why a run was refused."""

from __future__ import annotations

import streamlit as st

from dashboard.kit import library
from dashboard.kit.visitor import visitor
from ngf.config import Spec
from ngf.runs.store import Run
from ngf.runs.submit import REFUSALS, submit


def submit_all(place: str, *specs: Spec) -> list[Run]:
    """Submit these runs, for a button; those that exist already are found again.

    A refusal ends it and is kept for `show_refusal(place)`. Returns the runs before the refusal.
    """
    made: list[Run] = []
    refuse(place, None)
    try:
        for spec in specs:
            made.append(submit(spec, library.store(), visitor().id))
    except REFUSALS as error:
        refuse(place, error)
    return made


def refuse(place: str, error: Exception | None) -> None:
    """Keep a refusal for `show_refusal(place)`; None takes the last one back."""
    st.session_state[_key(place)] = "" if error is None else words(error)


def show_refusal(place: str) -> None:
    """Why the last runs of this place were refused; nothing when they were not."""
    if st.session_state.get(_key(place)):
        st.error(library.plain(st.session_state[_key(place)]), icon=":material/block:")


def say(error: Exception) -> None:
    """Show a refusal in its own words."""
    st.error(library.plain(words(error)), icon=":material/block:")


def words(error: Exception) -> str:
    """A refusal in the words of whoever raised it."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _key(place: str) -> str:
    return f"{place}.refused"
