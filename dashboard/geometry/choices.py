"""The choices of the Geometry page: which run and lane, which models, on which images and plane."""

from __future__ import annotations

from typing import Any

import streamlit as st

from analysis import image_kinds
from dashboard.charts.titles import lane_title
from dashboard.kit import forms, library, measuring, url
from dashboard.kit.measuring import View
from dashboard.kit.pages import SEED_MAX
from ngf.runs.store import PurifyRun, Run

PLANES = {
    "random": "Two random directions",
    "eigenvectors": "Two steepest directions",
    "models": "Through the models",
}
CELLS = (21, 41, 81)  # along each axis


def choose_run(values: dict[str, Any], fresh: bool) -> tuple[Run, str] | None:
    """The run and lane on show: from the address, else the newest purification, else the
    recording.
    """
    runs = {run.id: run for run in library.measurable()}
    if not runs:
        return None
    first, second = st.columns([2, 1])
    shown = library.tell_apart(runs, library.describe_measurable)
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


def choose_view(run: Run, lane: str) -> View:
    """Images, seed, models and plane."""
    kinds, planes = measuring.kinds(run), measuring.planes()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        images = forms.select(
            "Measure the loss on",
            "geometry.images",
            kinds,
            format_func=image_kinds.title,
            width=250,
            help="Target labels: the class that the attacker wants. Only a model with an attack "
            "has triggered images.",
        )
        plane = (
            forms.select("Plane", "geometry.plane", planes, format_func=_plane, width=215)
            if len(planes) > 1
            else "random"
        )
        cells = forms.select(
            "Cells",
            "geometry.cells",
            CELLS,
            format_func=lambda n: f"{n} × {n}",
            width=105,
            help="Points of the plane. Four times as many take four times as long.",
        )
        seed = st.number_input(
            "Seed",
            0,
            SEED_MAX,
            key="geometry.seed",
            step=1,
            width=125,
            help="Draws the images and the directions.",
        )
        benign = measuring.benign(run) is not None and st.toggle(
            "Benign model, too",
            key="geometry.benign",
            help="Same data, network and seed, trained without an attack.",
        )
        overlaid = st.toggle("In one picture", key="geometry.overlaid")
    return View(
        measuring.sides(run, lane, benign),
        images,
        seed,
        overlaid,
        plane,
        cells,
        st.session_state["geometry.matrix"],
        st.session_state["geometry.way"],
    )


def _plane(name: str) -> str:
    return PLANES.get(name, name)
