"""Sharpness along a race: submits a measurement per lane and draws what it has found, below the
curves of the race.
"""

from __future__ import annotations

import streamlit as st

from analysis import asking
from analysis.measures import MEASURES
from dashboard.charts.along_run import SHOWN, along_chart
from dashboard.charts.registry import left_out
from dashboard.kit import glossary, measuring
from dashboard.kit.show import show
from dashboard.kit.submit import show_refusal, submit_all
from ngf.config import MeasureSpec
from ngf.runs.folder import ACTIVE, AGAIN, WAYPOINTS
from ngf.runs.store import PurifyRun


def specs(run: PurifyRun) -> dict[str, MeasureSpec]:
    """The measurement per lane, on clean images."""
    return {lane: asking.along(f"{run.id}:{lane}") for lane in run.sound_lanes()}


def show_along(run: PurifyRun) -> None:
    """The button, and the chart as soon as something was measured; or that the run has kept no
    weights.
    """
    st.subheader("And on the way there?")
    if not (run.path / WAYPOINTS).is_dir():
        st.caption(
            "This run kept no weights on its way. Start one of your own to see its sharpness step "
            "by step."
        )
        return
    wanted = specs(run)
    states = measuring.progress(list(wanted.values()))
    st.caption(
        "Curvature at the steps whose weights the run has kept, on one axis with its curves."
    )
    if states.keys() & {"missing", *AGAIN}:
        st.button(
            "Measure along the race",
            icon=":material/timeline:",
            key="lab.along",
            on_click=_measure,
            args=(wanted,),
        )
    show_refusal("along")
    active = bool(states.keys() & set(ACTIVE))
    (st.fragment(_draw, run_every=1) if active else _draw)(run, wanted, active)


def _measure(wanted: dict[str, MeasureSpec]) -> None:
    """Submit the measurements, for the button."""
    submit_all("along", *wanted.values())


def _draw(run: PurifyRun, wanted: dict[str, MeasureSpec], active: bool) -> None:
    states = measuring.progress(list(wanted.values()))
    if active and not states.keys() & set(ACTIVE):
        st.rerun()
    found = {
        lane: reading
        for lane, spec in wanted.items()
        if (reading := measuring.read(spec)) and "step" in reading.arrays
    }
    if active:
        st.caption(measuring.sentence(states))
    if not found:
        return
    outline = run.outline()
    measure = st.segmented_control(
        "Measure",
        list(SHOWN),
        key="along.measure",
        format_func=lambda name: MEASURES[name].symbol,
        default="lambda_max",
        required=True,
    )
    show(
        along_chart(
            run.spec,
            outline,
            {lane: reading.arrays for lane, reading in found.items()},
            measure,
        ),
        f"along.{run.id}",
        name="sharpness along the race",
        of=[run, *(reading.run for reading in found.values())],
        height=520,
        scrub=True,
    )
    values = next(iter(found.values())).values
    st.caption(
        f"*Measured*: clean test images · n = {values['n']:,} · seed {values['seed']} · BatchNorm "
        "in eval mode (stored averages) · bands: certificate of λmax, standard errors of the "
        f"traces. {left_out(outline)}"
    )
    glossary.explain("lambda_max", "trace", "fisher", label="What this is")
