"""Starts a run, and finds the run that belongs to the choices on the page."""

from __future__ import annotations

from dataclasses import dataclass, replace

import streamlit as st

from dashboard.kit import estimate, library
from dashboard.kit.library import ModelRun, ModelSpec
from dashboard.kit.submit import show_refusal, submit_all
from dashboard.lab import along
from ngf.config import PurifySpec
from ngf.runs.folder import AGAIN, UNFINISHED
from ngf.runs.store import PurifyRun

_STAGES = "lab.stages"  # in the session: what each view shows, by the kind of its runs


@dataclass(frozen=True)
class _Staged:
    """What a view of the page has decided to show, kept in the session.

    run: id of the run on the stage; empty for none.
    form: id of the form's choices for which the run stands.
    built: id of the form's choices when this was decided last.
    """

    run: str
    form: str
    built: str


@dataclass(frozen=True)
class Stage:
    """What is on the stage.

    run: the run that is shown, if any.
    formed: the run of the form's choices, if there is one.
    other: whether the form asks for another run than the one that is shown.
    """

    run: ModelRun | None
    formed: ModelRun | None
    other: bool


def is_staged(kind: str, addressed: ModelRun | None) -> bool:
    """Whether this view shows a run, as far as it has decided that: the choices may change it."""
    at = st.session_state.get(_STAGES, {}).get(kind)
    if at is None:
        return addressed is not None and addressed.kind == kind
    return library.find_model_run(at.run) is not None


def staged(kind: str, spec: ModelSpec | None, addressed: ModelRun | None) -> Stage:
    """What this view shows: the run that the address names, then the run of the choices.

    A run that still goes on stays when a choice changes, and so does any other of the same model:
    the form is then for the next run. A run from the command line may be one that the form cannot
    express; it is shown all the same.

    kind: of the runs of this view.
    spec: what the form asks for; None where it is refused, which takes nothing off the stage.
    """
    known = st.session_state.setdefault(_STAGES, {})
    built = "" if spec is None else spec.id
    formed = _own(built)
    at = known.get(kind)
    if at is None:
        first = addressed if addressed is not None and addressed.kind == kind else formed
        at = _Staged(first.id if first else "", built, built)
    run = library.find_model_run(at.run)
    if built and built != at.built:
        stays = run is not None and (
            run.status in UNFINISHED or (formed is None and _same_model(run, spec))
        )
        at = _Staged(at.run, at.form, built) if stays else _stand_for(built, formed)
    elif run is None:  # deleted, or asked for by now in another window
        at = _stand_for(at.built, formed)
    known[kind] = at
    run = library.find_model_run(at.run)
    return Stage(run, formed, run is not None and built != at.form)


def new_link() -> None:
    """A new address decides anew what is shown."""
    st.session_state.pop(_STAGES, None)


def _stand_for(built: str, formed: ModelRun | None) -> _Staged:
    return _Staged(formed.id if formed else "", built, built)


def _own(run_id: str) -> ModelRun | None:
    """The run of this id; not one that ships, which can be started here."""
    found = library.find_model_run(run_id)
    return None if found is None or found.source == "shipped" else found


def _same_model(run: ModelRun, spec: ModelSpec | None) -> bool:
    """Whether a finished race is of the model that the form is for."""
    return isinstance(spec, PurifySpec) and (
        isinstance(run.spec, PurifySpec) and run.spec.parent == spec.parent
    )


def start(spec: ModelSpec | None, stage: Stage, curvature: bool = False) -> None:
    """The button. A finished run can be started again under another seed; one that the form asks
    for while another is on the stage is shown, when it is there.

    curvature: whether it is measured along the way of a race.
    """
    run = stage.formed if stage.other else stage.run
    if stage.other and run is not None and run.status not in AGAIN:
        st.button(
            "Show it",
            icon=":material/visibility:",
            key="lab.show",
            width="stretch",
            on_click=_show,
            args=(run.kind, run.id, run.id),
            help="These very choices were run before.",
        )
    elif run is not None and run.status == "done":
        other = _next_seed(run.spec)
        st.button(
            f"Start again with seed {other.seed}",
            icon=":material/replay:",
            key="lab.again",
            width="stretch",
            on_click=_submit,
            args=(other, curvature),
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
            args=(spec if run is None else run.spec, curvature),
            disabled=not (spec or run),
        )


def is_new(stage: Stage) -> bool:
    """Whether the form asks for a run that is not there yet."""
    return stage.formed is None if stage.other else stage.run is None


def notes(spec: ModelSpec | None, stage: Stage) -> None:
    """What there is to know before the start of what the form asks for."""
    show_refusal("lab")
    if spec is not None and is_new(stage):
        estimate.show(spec)


def _next_seed(spec: ModelSpec) -> ModelSpec:
    """The same specification with the next seed for which there is no run."""
    while library.find(spec.id) is not None:
        spec = replace(spec, seed=spec.seed + 1)
    return spec


def _submit(spec: ModelSpec, curvature: bool) -> None:
    """Submit the run; submitting it twice gives the same run."""
    for run in submit_all("lab", spec):
        st.session_state.setdefault("lab.started", []).append(run.id)
        _show(run.kind, run.id, spec.id)
        if curvature and isinstance(run, PurifyRun):
            along.ask(run)
        seed = "lab.race_seed" if isinstance(run, PurifyRun) else "lab.train.seed"
        st.session_state[seed] = spec.seed


def _show(kind: str, run_id: str, form: str) -> None:
    """Put a run on the stage of its view; `form` is the id of the choices that ask for it."""
    st.session_state.setdefault(_STAGES, {})[kind] = _Staged(run_id, form, form)
