"""The choices of the Geometry page: which run and lane, which models, on which images and plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from analysis import image_kinds
from dashboard.charts.titles import lane_title
from dashboard.kit import forms, library, measuring, url
from dashboard.kit.measuring import View
from dashboard.kit.pages import SEED_MAX
from ngf.config import Target
from ngf.runs.store import MeasureRun, PurifyRun, Run

_FIRST_PICTURE = "loss_slice"  # of the page
CELLS = (21, 41, 81)  # along each axis


def choose_run(values: dict[str, Any], fresh: bool) -> tuple[Run, str] | None:
    """The run and lane on show: from the address, else the newest purification whose minimum was
    measured, else the recording, whose measurements ship.
    """
    runs = {run.id: run for run in library.measurable()}
    if not runs:
        return None
    first, second = st.columns([2, 1])
    shown = library.tell_apart(runs, library.describe_measurable)
    if st.session_state.get("geometry.run") not in runs:
        st.session_state["geometry.run"] = _with_pictures(runs)
    with first:
        chosen = forms.select("Run", "geometry.run", list(runs), format_func=shown.__getitem__)
    run = runs[chosen]
    lanes = run.sound_lanes() if isinstance(run, PurifyRun) else []
    if not lanes:
        return run, ""
    if st.session_state.get("geometry.lane") not in lanes:
        if fresh and values["lane"]:
            step = run.diverged().get(values["lane"]) if isinstance(run, PurifyRun) else None
            why = "is not in this run" if step is None else f"diverged at step {step}: no model"
            url.ignore("geometry", f"lane “{values['lane']}” {why}. Allowed: {', '.join(lanes)}.")
        st.session_state["geometry.lane"] = lanes[0]
    return run, second.selectbox("Purified by", lanes, key="geometry.lane", format_func=lane_title)


def _with_pictures(runs: Mapping[str, Run]) -> str:
    """The first run that has something to show, the newest if none has."""
    measured = {
        Target.parse(run.spec.target).run
        for run, facts in library.store().look().facts.items()
        if isinstance(run, MeasureRun)
        and facts.ended == "done"
        and run.spec.measurement.name == _FIRST_PICTURE
    }
    shipped = {run.id for run in library.recordings()}
    return next((name for name in runs if name in measured | shipped), next(iter(runs)))


def choose_view(run: Run, lane: str) -> View:
    """Images, seed, models, walk and plane; the last two are chosen above their pictures."""
    kinds = measuring.kinds(run)
    images = forms.select(
        "Measure the loss on",
        "geometry.images",
        kinds,
        format_func=image_kinds.title,
        help="Target labels: the class that the attacker wants. Only a model with an attack has "
        "triggered images.",
    )
    benign = measuring.benign(run) is not None and st.toggle(
        "Benign model, too",
        key="geometry.benign",
        help="Same data, network and seed, trained without an attack.",
    )
    overlaid = st.toggle("All models in one picture", key="geometry.overlaid")
    first, second = st.columns(2)
    with first:
        cells = forms.select(
            "Points along a plane",
            "geometry.cells",
            CELLS,
            format_func=lambda n: f"{n} × {n}",
            help="Four times as many points take four times as long.",
        )
    seed = second.number_input(
        "Seed",
        0,
        SEED_MAX,
        key="geometry.seed",
        step=1,
        help="Draws the images and the random directions.",
    )
    sides = measuring.sides(run, lane, benign)
    if not lane and st.session_state["geometry.plane"] == "models":
        st.session_state["geometry.plane"] = "steepest"  # there is one model alone
    return View(
        sides,
        images,
        seed,
        overlaid,
        st.session_state["geometry.plane"],
        cells,
        st.session_state["geometry.matrix"],
        st.session_state["geometry.way"],
        st.session_state["geometry.walk"],
    )
