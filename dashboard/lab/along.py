"""Sharpness along a race: asks for the measurement of each lane and draws what is there,
under the race's curves.
"""

from __future__ import annotations

import streamlit as st

from dashboard.charts.along_run import MEASURES, along_chart
from dashboard.kit import glossary, library, measuring
from dashboard.kit.show import show
from ngf.catalogue import normalize
from ngf.config import Choice, MeasureSpec, SpecError
from ngf.runs.store import Run

_WORDS = {"lambda_max": "λmax", "trace": "Tr(H)", "fisher_trace": "Tr(F)"}


def specs(run: Run) -> dict[str, MeasureSpec]:
    """The measurement of each lane, on clean images."""
    choice = normalize("measurements", Choice("along_run"))
    return {
        lane: MeasureSpec(target=f"{run.id}:{lane}", measurement=choice)
        for lane in run.spec.lane_names()
    }


def show_along(run: Run) -> None:
    """A button, and the chart as soon as there is something on it. Runs without kept weights
    say so.
    """
    st.subheader("And on the way there?")
    if not (run.path / "path").is_dir():
        st.caption(
            "This run kept no weights on its way. Start one of your own to see its sharpness step "
            "by step."
        )
        return
    asked = specs(run)
    states = measuring.progress(list(asked.values()))
    st.caption(
        "Curvature at the steps whose weights the run has kept, on one axis with its curves."
    )
    if states.keys() & {"missing", "cancelled", "failed"}:
        st.button(
            "Measure along the race",
            icon=":material/timeline:",
            key="lab.along",
            on_click=_submit,
            args=(asked,),
        )
    if st.session_state.get("along.refused"):
        st.error(st.session_state["along.refused"], icon=":material/block:")
    active = bool(states.keys() & set(library.ACTIVE))
    (st.fragment(_draw, run_every=1) if active else _draw)(run, asked, active)


def _submit(asked: dict[str, MeasureSpec]) -> None:
    st.session_state["along.refused"] = ""
    try:
        for spec in asked.values():
            library.store().submit(spec, library.owner())
    except (SpecError, OSError) as error:
        st.session_state["along.refused"] = str(error)


def _draw(run: Run, asked: dict[str, MeasureSpec], active: bool) -> None:
    states = measuring.progress(list(asked.values()))
    if active and not states.keys() & set(library.ACTIVE):
        st.rerun()
    found = {
        lane: reading
        for lane, spec in asked.items()
        if (reading := measuring.read(spec)) and "step" in reading.arrays
    }
    if active:
        st.caption(measuring.sentence(states))
    if not found:
        return
    measure = st.segmented_control(
        "Measure",
        list(MEASURES),
        key="along.measure",
        format_func=_WORDS.get,
        default="lambda_max",
        required=True,
    )
    show(
        along_chart(
            run.spec,
            run.events(),
            {lane: reading.arrays for lane, reading in found.items()},
            measure,
        ),
        f"along.{run.id}",
        name="sharpness along the race",
        height=520,
        scrub=True,
    )
    values = next(iter(found.values())).values
    st.caption(
        f"*Measured*: clean test images · n = {values['n']:,} · seed {values['seed']} · BatchNorm "
        "in eval mode (stored averages) · bands: certificate of λmax, standard errors of the "
        "traces."
    )
    glossary.explain("lambda_max", "trace", "fisher", label="What this is")
