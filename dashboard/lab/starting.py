"""Starting a run, and telling which run belongs to the choices on the page."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from dashboard.kit import estimate, library
from ngf.config import Spec, SpecError
from ngf.runs.store import Run
from ngf.runs.submit import check_files


def shown_run(spec: Spec | None, asked: Run | None) -> Run | None:
    """The run of these choices, if it exists; at first the one that the address names.

    A run from the command line may be one that the form cannot express. It is shown until a choice
    is changed: then the choices say what is shown.
    """
    built = "" if spec is None else spec.id
    first = st.session_state.get("lab.built") or built
    st.session_state["lab.built"] = first
    if asked is not None and built == first and (spec is None or asked.spec.kind == spec.kind):
        return asked
    return library.find(built)


def start(spec: Spec | None, run: Run | None) -> None:
    """The button. A run that has finished can be started again under another seed."""
    if run is not None and run.status == "done":
        other = _next_seed(run.spec)
        st.button(
            f"Start again with seed {other.seed}",
            icon=":material/replay:",
            key="lab.again",
            width="stretch",
            on_click=_submit,
            args=(other,),
            help="Another order of the batches: how much of the result is luck?",
        )
    elif run is None or run.status in ("cancelled", "failed"):
        word = {"cancelled": "Go on", "failed": "Try again"}[run.status] if run else "Start"
        st.button(
            word,
            type="primary",
            icon=":material/play_arrow:",
            key="lab.start",
            width="stretch",
            on_click=_submit,
            args=(spec if run is None else run.spec,),
            disabled=not (spec or run),
        )


def notes(spec: Spec | None, run: Run | None) -> None:
    """What there is to know before the start, or about a run that was not started by this visit."""
    if st.session_state.get("lab.refused"):
        st.error(st.session_state["lab.refused"], icon=":material/block:")
    if run is None and spec is not None:
        estimate.show(spec)
    if run is None:
        return
    st.caption(library.describe(run))
    if run.status == "done" and run.id not in st.session_state.get("lab.started", []):
        st.info(
            "This very run was computed before, so it is shown at once.", icon=":material/bolt:"
        )
    if run.status in ("queued", "lost") and not library.store().supervised:
        st.warning(
            "Nothing executes runs at the moment. `make dashboard` starts what does.",
            icon=":material/power_off:",
        )


def _next_seed(spec: Spec) -> Spec:
    """The same run under the next seed that has none."""
    while library.find(spec.id) is not None:
        spec = replace(spec, seed=spec.seed + 1)
    return spec


def _submit(spec: Spec) -> None:
    """Ask for the run; asking twice gives the same run."""
    try:
        if spec.kind == "train":
            check_files(spec.data)
        run = library.store().submit(spec, library.owner())
    except (SpecError, OSError) as error:
        st.session_state["lab.refused"] = str(error)
        return
    st.session_state["lab.refused"] = ""
    st.session_state.setdefault("lab.started", []).append(run.id)
    st.session_state["lab.race_seed" if spec.kind == "purify" else "lab.train.seed"] = spec.seed
