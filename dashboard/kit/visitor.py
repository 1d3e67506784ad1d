"""Who looks at this page, and what they may do to a run. Every command of a page goes through
here: a hidden button protects nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import replace

import streamlit as st

from dashboard.kit import signature
from dashboard.kit.signature import Visitor
from dashboard.kit.stores import whole
from ngf.runs.store import Run

_KEPT = "visitor"  # in the session: who was seen last, for a script that outlives its connection


class NotYours(ValueError):
    """A visitor commands a run of somebody else."""


def visitor() -> Visitor:
    """Who looks at this page, by the cookie that came with the connection.

    A browser that keeps no cookies is somebody new in every visit, and cannot prove who it is.
    """
    root = whole().root
    found = None
    with contextlib.suppress(OSError):  # no key: a full disk, say
        cookie = st.context.cookies.get(signature.cookie_name(root), "")
        found = signature.visitor_of(root, str(cookie))  # Streamlit's test driver has none
    if found is None:
        kept = st.session_state.get(_KEPT)
        found = kept if isinstance(kept, Visitor) else replace(signature.newcomer(), known=False)
    st.session_state[_KEPT] = found
    return found


def why_not(run: Run, do: str = "stop") -> str:
    """Why this visitor may not `do` something to a run, in a sentence; empty when they may."""
    return _why_not(visitor(), run, do)


def _why_not(me: Visitor, run: Run, do: str) -> str:
    owner = run.request["owner"]
    if me.machine:
        return ""
    if not me.known:
        return (
            "This browser keeps no cookies, so the page cannot tell which runs are yours. Allow "
            f"cookies for this address and load the page again to {do} runs."
        )
    if not owner:
        return (
            "Started from the terminal of this machine: only the terminal, and the browser that it "
            f"opened, can {do} it."
        )
    if owner != me.id:
        return (
            f"Started by another visitor: only they, or the terminal of this machine, can {do} it."
        )
    return ""


def command(run: Run, word: str) -> None:
    """Let a run `pause`, `resume` or `cancel`. Raises NotYours."""
    if refusal := why_not(run, "stop" if word == "cancel" else word):
        raise NotYours(refusal)
    run.control(word)


def delete(run: Run) -> None:
    """Delete a run. Raises NotYours, and ValueError and KeyError as `Store.delete`."""
    if refusal := why_not(run, "delete"):
        raise NotYours(refusal)
    run.store.delete(run.id)


def mine(runs: Iterable[Run]) -> list[Run]:
    """Those of the runs that this visitor may command."""
    me = visitor()
    return [run for run in runs if not _why_not(me, run, "stop")]
