"""Which race lies faint behind the one on the stage: the reader's choice, kept in the address."""

from __future__ import annotations

import streamlit as st

from dashboard.charts.ghost import Ghost, differs
from dashboard.kit import library, url
from ngf.runs.store import PurifyRun

KEY = "lab.ghost"
_MOST = 12  # that are offered
_PATIENCE = 0.5  # seconds that the page waits for the events of a long run


def restore(run_id: str) -> None:
    """Take the choice from a new address."""
    found = library.find(run_id) if run_id else None
    if run_id and not isinstance(found, PurifyRun):
        url.ignore(
            "lab",
            f"ghost “{run_id}” is no purification of this store, so nothing lies behind the "
            "curves. Choose one of the list below them.",
        )
    st.session_state[KEY] = found.id if isinstance(found, PurifyRun) else ""


def offered(run: PurifyRun) -> dict[str, PurifyRun]:
    """Finished races of the same model, newest first, then what ships; and the one chosen."""
    own = [
        other
        for other, facts in library.store().look().facts.items()
        if isinstance(other, PurifyRun)
        and facts.ended == "done"
        and other.spec.parent == run.spec.parent
    ]
    shipped = [other for other in library.recordings() if other.spec.parent == run.spec.parent]
    found = {other.id: other for other in [*_source(run), *shipped, *own[:_MOST]]}
    if isinstance(kept := library.find(st.session_state.get(KEY, "")), PurifyRun):
        found.setdefault(kept.id, kept)
    found.pop(run.id, None)
    return found


def _source(run: PurifyRun) -> list[PurifyRun]:
    """The race that a fork branches off, while it is there."""
    fork = run.spec.fork()
    source = library.find(fork.run) if fork else None
    return [source] if isinstance(source, PurifyRun) and source.status == "done" else []


def chosen(run: PurifyRun) -> PurifyRun | None:
    """The race behind this one: where none was chosen, that which a fork branches off."""
    name = st.session_state.get(KEY) or next((source.id for source in _source(run)), "")
    return offered(run).get(name)


def ghost_of(other: PurifyRun) -> Ghost:
    return Ghost(other.spec, other.outline(_PATIENCE))


def choose(run: PurifyRun) -> None:
    """The list, where there is anything to choose."""
    found = offered(run)
    if not found:
        return
    labels = library.tell_apart(found, lambda other: _label(run, other))
    usual = "The race that it branches off" if _source(run) else "Nothing"
    if st.session_state.get(KEY, "") not in found:
        st.session_state[KEY] = ""
    st.selectbox(
        "Faint behind the curves",
        ["", *found],
        key=KEY,
        format_func=lambda name: labels.get(name, usual),
        help="Another finished race of the same model: an earlier one, another seed, or a "
        "recording that ships.",
    )


def _label(run: PurifyRun, other: PurifyRun) -> str:
    ships = " · ships with the program" if other.source == "shipped" else ""
    return f"{differs(run.spec, other.spec)}{ships}"
