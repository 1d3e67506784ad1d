"""Geometry: the minimum of each model, on the same images and the same axes."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from dashboard.components.live_chart import preload
from dashboard.geometry.choices import choose_run, choose_view
from dashboard.geometry.evidence import show_evidence
from dashboard.geometry.rescaling import show_rescaling
from dashboard.geometry.second_opinion import show_second_opinion
from dashboard.geometry.sections import Minimum
from dashboard.geometry.surface import default_view, show_surface
from dashboard.kit import library, measuring, url
from dashboard.kit.measuring import View
from dashboard.kit.pages import script
from dashboard.kit.submit import show_refusal
from ngf.runs.folder import ACTIVE

# heading, what it answers, what it needs, how it is drawn
SECTIONS: tuple[tuple[str, str, Callable[[View], tuple[str, ...]], Callable[[View], bool]], ...] = (
    (
        "Loss around the minimum",
        "How fast does the loss rise when the weights walk away?",
        lambda view: ("loss_slice",),
        lambda view: Minimum(view).slices(),
    ),
    (
        "The surface",
        "What does the ground look like when the weights walk along two directions at once?",
        lambda view: ("loss_plane",),
        show_surface,
    ),
    (
        "Curvature",
        "How many directions are steep, and how steep?",
        lambda view: (f"{view.matrix}_spectrum",),
        lambda view: Minimum(view).spectrum(),
    ),
    (
        "The numbers",
        "Sharpness with error bars, and what leaves each number as it is.",
        lambda view: ("fisher_trace", "hessian_spectrum", "sharpness"),
        lambda view: Minimum(view).numbers(),
    ),
    (
        "Second opinion",
        "Does a program that others wrote find the same numbers?",
        lambda view: ("pyhessian_check",),
        show_second_opinion,
    ),
    (
        "Layer by layer",
        "Which layers do the predictions and the loss react to?",
        lambda view: ("fisher_trace", "hessian_spectrum"),
        lambda view: Minimum(view).layers(),
    ),
    (
        "From before to after",
        "Is there a way from one model to the other on which the loss stays low?",
        lambda view: (f"loss_{view.way}",),
        lambda view: Minimum(view).way(),
    ),
    (
        "Same predictions, other sharpness",
        "What does a layer's scale do to sharpness when no prediction changes?",
        lambda view: ("rescaling",),
        show_rescaling,
    ),
)


def measure(view: View, names: tuple[str, ...], label: str, key: str, **about: str) -> None:
    """A button that asks for what is not there yet, if anything is missing."""
    todo = measuring.to_do(
        measuring.progress([item for name in names for _, item in view.specs(name)])
    )
    if todo:
        st.button(
            f"{label} ({todo})",
            icon=":material/straighten:",
            key=key,
            on_click=measuring.submit,
            args=(run.id, lane, view, names),
            **about,
        )


st.title("Geometry")
st.markdown(
    "Fine-tuning moves the weights to another place. Is the ground flatter there? The same "
    "measurements, on the same images, model by model."
)
values, fresh = url.follow("geometry")
if fresh and values["run"] and values["run"] not in {run.id for run in library.measurable()}:
    url.ignore(
        "geometry",
        f"run “{values['run']}” is not a finished purification or training in this store.",
    )
url.seed(
    "geometry",
    {
        **values,
        **{name: bool(values[name]) for name in ("benign", "overlaid", "log")},
        "view": values["view"] or default_view(),
    },
    fresh,
)
chosen = choose_run(values, fresh)
url.notice("geometry")
if chosen is None:
    st.info(
        "There is nothing to measure yet. Purify a model in the Lab, then come back.",
        icon=":material/landscape:",
    )
    st.stop()
run, lane = chosen
view = choose_view(run, lane)
wanted = dict.fromkeys(
    [*measuring.QUICK, *(name for _, _, needs, _ in SECTIONS for name in needs(view))]
)
specs = list({item.id: item for name in wanted for _, item in view.specs(name)}.values())
states = measuring.progress(specs)
active = [run_id for name in ACTIVE for run_id in states.get(name, [])]
with st.container(horizontal=True, vertical_alignment="center"):
    measure(view, measuring.QUICK, "Measure", "geometry.measure", type="primary")
    if active:
        st.button(
            "Stop measuring",
            icon=":material/stop:",
            key="geometry.stop",
            on_click=measuring.stop,
            args=(active,),
        )
    st.page_link(
        script("lab"),
        label="Open in Lab",
        icon=":material/science:",
        query_params={"run": run.id},
    )
(measuring.watch if active else lambda *_: st.caption(measuring.sentence(states)))(specs, states)
show_refusal(measuring.REFUSED)
for run_id in states.get("failed", [])[:3]:
    error = (library.find(run_id).error or {}) if library.find(run_id) else {}
    st.error(f"{run_id} failed: {error.get('message', '')} {error.get('advice') or ''}")
if any(view.images not in side.kinds for side in view.sides):
    st.caption("A benign model has no triggered images, so it is not shown for these.")
for heading, question, needs, section in SECTIONS:
    names = needs(view)
    if not any(view.specs(name) for name in names):
        continue
    st.header(heading)
    st.markdown(question)
    if not section(view):
        st.caption(":material/hourglass_empty: Not measured yet.")
    measure(view, names, "Measure this", f"geometry.measure.{names[-1]}.{heading}")
show_evidence()
preload()
url.write(
    "geometry",
    {
        "run": run.id,
        "lane": lane,
        "images": view.images,
        "seed": view.seed,
        "plane": view.plane,
        "cells": view.cells,
        "matrix": view.matrix,
        "way": view.way,
        **{
            name: int(st.session_state.get(f"geometry.{name}", values[name]))
            for name in ("benign", "overlaid", "log")
        },
        "view": ""
        if st.session_state.get("geometry.view") == default_view()
        else st.session_state.get("geometry.view", values["view"]),
    },
)
