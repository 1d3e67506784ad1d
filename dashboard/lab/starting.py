"""Starts a run, and finds the run that belongs to the choices on the page."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from dashboard.kit import estimate, library
from dashboard.kit.library import ModelRun, ModelSpec
from dashboard.kit.submit import show_refusal, submit_all
from ngf.runs.folder import AGAIN
from ngf.runs.store import PurifyRun


def shown_run(spec: ModelSpec | None, addressed: ModelRun | None) -> ModelRun | None:
    """The run of these choices, if it exists; at first the run that the address names.

    A run from the command line may be one that the form cannot express. It is shown until a choice
    changes; from then on the choices decide.
    """
    built = "" if spec is None else spec.id
    first = st.session_state.get("lab.built") or built
    st.session_state["lab.built"] = first
    fits = addressed is not None and (spec is None or isinstance(addressed.spec, type(spec)))
    if fits and built == first:
        return addressed
    found = library.find_model_run(built)
    return found if found is None or found.source != "shipped" else None  # start it here


def start(spec: ModelSpec | None, run: ModelRun | None) -> None:
    """The button. A finished run can be started again under another seed."""
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
    elif run is None or run.status in AGAIN:
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


def notes(spec: ModelSpec | None, run: ModelRun | None) -> None:
    """What there is to know before the start, or about a run that this visit did not start."""
    show_refusal("lab")
    if run is None and spec is not None:
        estimate.show(spec)
    if run is None:
        return
    st.caption(library.plain(library.describe(run)))
    if run.status == "done" and run.id not in st.session_state.get("lab.started", []):
        st.info(
            "This very run was computed before, so it is shown at once.", icon=":material/bolt:"
        )
    if run.status in ("queued", "lost") and not library.store().supervised:
        st.warning(
            "Nothing executes runs at the moment. `make dashboard` starts what does.",
            icon=":material/power_off:",
        )


def _next_seed(spec: ModelSpec) -> ModelSpec:
    """The same specification with the next seed for which there is no run."""
    while library.find(spec.id) is not None:
        spec = replace(spec, seed=spec.seed + 1)
    return spec


def _submit(spec: ModelSpec) -> None:
    """Submit the run; submitting it twice gives the same run."""
    for run in submit_all("lab", spec):
        st.session_state.setdefault("lab.started", []).append(run.id)
        seed = "lab.race_seed" if isinstance(run, PurifyRun) else "lab.train.seed"
        st.session_state[seed] = spec.seed
