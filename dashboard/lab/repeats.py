"""One purification is one draw: the same race with other seeds, and how far it spreads."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from dashboard.charts.repeats import Repeat, repeats_chart
from dashboard.kit import library, measuring
from dashboard.kit.show import show
from dashboard.kit.submit import show_refusal, submit_all
from ngf.config import REVISION, PurifySpec
from ngf.runs.folder import ACTIVE
from ngf.runs.store import PurifyRun

TIMES = 5
_PLACE = "repeats"


def wanted(spec: PurifySpec) -> list[PurifySpec]:
    """The race with its own seed and those that follow it."""
    return [replace(spec, seed=spec.seed + k) for k in range(TIMES)]


def finished(spec: PurifySpec) -> list[PurifyRun]:
    """All finished runs of this race, whatever their seed, by seed."""
    found = {
        facts.spec.seed: run
        for run, facts in library.store().look().facts.items()
        if isinstance(run, PurifyRun)
        and isinstance(facts.spec, PurifySpec)
        and facts.ended == "done"
        and facts.spec.parent == spec.parent
        and replace(facts.spec, seed=spec.seed) == spec
    }
    return [found[seed] for seed in sorted(found)]


def show_repeats(run: PurifyRun) -> None:
    """The button that repeats a finished race, and the band as soon as there are two."""
    st.subheader("How much of this is luck?")
    st.caption(
        "Another seed draws other clean images, other batches and, for NGF, other labels from the "
        "model. One run is an anecdote: the band shows where others ended."
    )
    states = measuring.progress(wanted(run.spec))
    left = len(measuring.to_do(states))
    if left and run.spec.revision == REVISION:
        seconds = sum(about.get("seconds", 0.0) for about in run.finished()["lanes"].values())
        st.button(
            f"Repeat ×{TIMES}",
            icon=":material/casino:",
            key="lab.repeat",
            on_click=_submit,
            args=(run.spec,),
            help=f"{left} more runs with the next seeds, about {max(1, round(left * seconds))} s "
            "of computing.",
        )
    show_refusal(_PLACE)
    active = bool(states.keys() & set(ACTIVE))
    (st.fragment(_draw, run_every=1) if active else _draw)(run.spec, active)


def _submit(spec: PurifySpec) -> None:
    """Ask for the runs that are not there yet, for the button."""
    submit_all(_PLACE, *wanted(spec))


def _draw(spec: PurifySpec, active: bool) -> None:
    states = measuring.progress(wanted(spec))
    if active:
        st.caption(f"{len(states.get('done', ()))} of {TIMES} runs done.")
        if not states.keys() & set(ACTIVE):
            st.rerun()
    runs = finished(spec)
    if len(runs) < 2:
        return
    chart = repeats_chart(
        [Repeat(one.spec, one.outline(), one.finished()["lanes"]) for one in runs]
    )
    show(chart, f"repeats.{spec.parent}", name="repeats of the race", of=runs)
    st.caption(
        f"*Measured*: {len(runs)} purification seeds of one model; lines are means, bands go from "
        "the lowest to the highest. Curves on a fixed part of the test images; the sentence and "
        "the table on all of them."
    )
