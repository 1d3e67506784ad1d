"""Curvature along a race: submits a measurement per lane and draws what it has found, below the
curves of the race.
"""

from __future__ import annotations

import streamlit as st

from analysis import asking
from analysis.measures import MEASURES
from dashboard.charts.along_run import FIRST, SHOWN, curvature_chart
from dashboard.charts.registry import left_out
from dashboard.kit import glossary, measuring
from dashboard.kit.readings import Reading
from dashboard.kit.show import show
from dashboard.kit.submit import show_refusal, submit_all
from ngf.config import MeasureSpec
from ngf.runs.folder import ACTIVE, AGAIN, UNFINISHED, WAYPOINTS
from ngf.runs.store import PurifyRun


def specs(run: PurifyRun) -> dict[str, MeasureSpec]:
    """The measurement per lane, on clean images."""
    return {lane: asking.along(f"{run.id}:{lane}") for lane in run.sound_lanes()}


def ask(run: PurifyRun) -> None:
    """Let the measurements follow a race that was just asked for."""
    submit_all("along", *specs(run).values())


def show_curvature(run: PurifyRun, steps: str) -> None:
    """Below the curves of a race, on their axis: curvature at the steps whose weights the run has
    kept, as far as it is measured; where nobody has asked for it, the button that does.

    steps: the name of the charts that show one step.
    """
    wanted = specs(run)
    states = measuring.progress(list(wanted.values()))
    if states.keys() <= {"missing"} and not (run.path / WAYPOINTS).is_dir():
        if run.status == "done":
            st.caption(
                "This run kept no weights on its way. Start one of your own to see its curvature "
                "step by step."
            )
        return
    active = bool(states.keys() & set(ACTIVE))
    (st.fragment(_draw, run_every=2) if active else _draw)(run, wanted, steps, active)
    if run.status not in UNFINISHED and states.keys() & {"missing", *AGAIN}:
        st.button(
            "Measure along the race",
            icon=":material/timeline:",
            key="lab.along",
            on_click=ask,
            args=(run,),
        )
        show_refusal("along")


def _draw(run: PurifyRun, wanted: dict[str, MeasureSpec], steps: str, active: bool) -> None:
    states = measuring.progress(list(wanted.values()))
    if active and not states.keys() & set(ACTIVE):
        st.rerun()
    found = _found(wanted)
    if not found:
        if active:
            st.caption(
                "Curvature along the way: measured with what is left of the machine; the first "
                "point comes when the race has begun."
            )
        return
    st.session_state.setdefault("along.measures", list(FIRST))
    chosen = st.pills(
        "Curvature along the way",
        list(SHOWN),
        key="along.measures",
        format_func=lambda name: MEASURES[name].symbol,
        selection_mode="multi",
    )
    measures = [name for name in SHOWN if name in chosen] or list(FIRST)
    outline = run.outline()
    show(
        curvature_chart(
            run.spec, outline, {lane: one.arrays for lane, one in found.items()}, measures
        ),
        f"curvature.{run.id}",
        name="curvature along the race",
        of=[run, *(reading.run for reading in found.values())],
        height=60 + 120 * len(measures),
        steps=steps,
    )
    values = next(iter(found.values())).values
    st.caption(
        f"*Measured* {'so far' if active else ''} at the steps whose weights are kept: clean test "
        f"images · n = {values['n']:,} · seed {values['seed']} · BatchNorm in eval mode · bands: "
        f"certificate of λmax, standard error of the traces. {left_out(outline)}"
    )
    glossary.explain("lambda_max", "trace", "fisher", label="What this is")


def _found(wanted: dict[str, MeasureSpec]) -> dict[str, Reading]:
    """What was measured so far, by lane."""
    return {
        lane: reading
        for lane, spec in wanted.items()
        if (reading := measuring.read(spec)) and "step" in reading.arrays
    }
