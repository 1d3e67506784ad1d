"""Sharpness along a race: submits a measurement per lane and draws what it has found, below the
curves of the race.
"""

from __future__ import annotations

import streamlit as st

from analysis import asking
from analysis.measures import MEASURES
from dashboard.charts.along_run import SHOWN, along_chart, curvature_chart
from dashboard.charts.registry import left_out
from dashboard.kit import glossary, measuring
from dashboard.kit.readings import Reading
from dashboard.kit.show import show
from dashboard.kit.submit import show_refusal, submit_all
from ngf.config import MeasureSpec
from ngf.runs.folder import ACTIVE, AGAIN, WAYPOINTS
from ngf.runs.store import PurifyRun


def specs(run: PurifyRun) -> dict[str, MeasureSpec]:
    """The measurement per lane, on clean images."""
    return {lane: asking.along(f"{run.id}:{lane}") for lane in run.sound_lanes()}


def ask(run: PurifyRun) -> None:
    """Let the measurements follow a race that was just asked for."""
    submit_all("along", *specs(run).values())


def show_curvature(run: PurifyRun, steps: str) -> None:
    """Below the curves of a race, on their axis: curvature at the steps that were measured so far;
    nothing where nobody asked for it.

    steps: the name of the charts that show one step.
    """
    wanted = specs(run)
    states = measuring.progress(list(wanted.values()))
    if states.keys() <= {"missing"}:
        return
    active = bool(states.keys() & set(ACTIVE))
    (st.fragment(_draw_curvature, run_every=2) if active else _draw_curvature)(
        run, wanted, steps, active
    )


def _draw_curvature(
    run: PurifyRun, wanted: dict[str, MeasureSpec], steps: str, active: bool
) -> None:
    states = measuring.progress(list(wanted.values()))
    if active and not states.keys() & set(ACTIVE):
        st.rerun()
    found = _found(wanted)
    if not found:
        st.caption(
            "Curvature along the way: measured with what is left of the machine; the first point "
            "comes when the race has begun."
        )
        return
    show(
        curvature_chart(
            run.spec, run.outline(), {lane: reading.arrays for lane, reading in found.items()}
        ),
        f"curvature.{run.id}",
        name="curvature along the race",
        of=[run, *(reading.run for reading in found.values())],
        height=300,
        steps=steps,
    )
    values = next(iter(found.values())).values
    st.caption(
        f"*Measured* {'so far' if active else ''} at the steps whose weights are kept: clean test "
        f"images · n = {values['n']:,} · seed {values['seed']} · BatchNorm in eval mode · bands: "
        "certificate of λmax, standard error of Tr(F)."
    )


def _found(wanted: dict[str, MeasureSpec]) -> dict[str, Reading]:
    """What was measured so far, by lane."""
    return {
        lane: reading
        for lane, spec in wanted.items()
        if (reading := measuring.read(spec)) and "step" in reading.arrays
    }


def show_along(run: PurifyRun) -> None:
    """The button, and the chart as soon as something was measured; or that the run has kept no
    weights.
    """
    st.subheader("And on the way there?")
    wanted = specs(run)
    states = measuring.progress(list(wanted.values()))
    if states.keys() <= {"missing"} and not (run.path / WAYPOINTS).is_dir():
        st.caption(
            "This run kept no weights on its way. Start one of your own to see its sharpness step "
            "by step."
        )
        return
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
    found = _found(wanted)
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
