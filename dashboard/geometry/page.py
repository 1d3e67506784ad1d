"""Geometry: the minimum of each model, on the same images and the same axes."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import streamlit as st

from analysis import image_kinds
from dashboard.components.live_chart import preload
from dashboard.geometry.choices import choose_run, choose_view
from dashboard.geometry.evidence import show_evidence
from dashboard.geometry.section import Section, submitted
from dashboard.geometry.sections import sections
from dashboard.geometry.verdict import verdict
from dashboard.kit import damage, library, measuring, url
from dashboard.kit.measuring import View
from dashboard.kit.pages import script
from dashboard.kit.run_card import reason, show_weak
from dashboard.kit.submit import show_refusal
from ngf.runs.folder import ACTIVE
from ngf.runs.store import Run


def measure_button(
    run: Run,
    lane: str,
    view: View,
    names: tuple[str, ...],
    missing: Set[str],
    label: str,
    key: str,
    **widget: Any,
) -> None:
    """A button that submits the measurements `names`, if any of their runs is missing."""
    if todo := sum(item.id in missing for name in names for _, item in view.specs(name)):
        st.button(
            f"{label} ({todo})",
            icon=":material/straighten:",
            key=key,
            on_click=measuring.submit,
            args=(run.id, lane, view, names),
            **widget,
        )


def offer(section: Section, run: Run, lane: str, view: View, missing: Set[str]) -> None:
    """The button that measures what the section is drawn of, as far as it is missing."""
    names = section.needs(view)
    key = f"geometry.measure.{names[-1]}.{section.heading}"
    measure_button(run, lane, view, names, missing, "Measure this", key)


bar = st.container(key="geometry_head", horizontal=True, vertical_alignment="center")
bar.title("Geometry", width="content")
values, fresh = url.follow("geometry")
if fresh and values["run"] and values["run"] not in {run.id for run in library.measurable()}:
    url.ignore(
        "geometry",
        f"run “{values['run']}” is not a finished purification or training in this store.",
    )
url.restore_widgets(
    "geometry",
    {
        **values,
        **{name: bool(values[name]) for name in ("benign", "overlaid", "log")},
    },
    fresh,
)
settings = bar.popover("Choose models and images", icon=":material/tune:", key="geometry.choose")
with settings:
    chosen = choose_run(values, fresh)
url.notice("geometry")
if chosen is None:
    st.info(
        "There is nothing to measure yet. Purify a model in the Lab, then come back.",
        icon=":material/landscape:",
    )
    st.stop()
run, lane = chosen
show_weak(run)
if (benign := measuring.benign(run)) is not None:
    show_weak(benign, "The benign model")
with settings:
    view = choose_view(run, lane)
wanted = dict.fromkeys(
    [*measuring.QUICK, *(name for section in sections() for name in section.needs(view))]
)
specs = list({item.id: item for name in wanted for _, item in view.specs(name)}.values())
states = measuring.progress(specs)
missing = measuring.to_do(states)
active = [run_id for name in ACTIVE for run_id in states.get(name, [])]
with bar:
    measure_button(
        run, lane, view, measuring.QUICK, missing, "Measure", "geometry.measure", type="primary"
    )
    if active:
        measuring.show_stop(active, "geometry.stop")
    st.page_link(
        script("lab"),
        label="Open in Lab",
        icon=":material/science:",
        query_params={"run": run.id},
    )
st.caption(f"{library.plain(library.describe(run))} · {image_kinds.title(view.images)}")
if active:
    measuring.watch(specs, states)
show_refusal(measuring.REFUSED)
for run_id in states.get("failed", [])[:3]:
    failed = library.find(run_id)
    error = (failed.error if failed is not None else None) or {}
    st.error(f"{library.plain(run_id)} failed: {reason(error)}")
if any(view.images not in side.kinds for side in view.sides):
    st.caption("A benign model has no triggered images, so it is not shown for these.")
if words := verdict(view):
    with st.container(key="geometry_verdict"):
        st.markdown(f"**What these models show.** {words}")
later: list[Section] = []
for section in sections():
    names = section.needs(view)
    if not any(view.specs(name) for name in names):
        continue
    if not section.switched and not any(submitted(view.specs(name)) for name in names):
        later.append(section)
        continue
    st.header(section.heading)
    st.markdown(section.question)
    section.draw(view)
    damage.tell()
    offer(section, run, lane, view, missing)
show_evidence()
if not active:
    st.caption(measuring.sentence(states) + measuring.shipped_sentence(specs))
if later:
    st.header("More to measure")
    for section in later:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{section.heading}.** {section.question}", width="stretch")
            offer(section, run, lane, view, missing)
preload()
url.write(
    "geometry",
    {
        "run": run.id,
        "lane": lane,
        "images": view.images,
        "seed": view.seed,
        "plane": view.plane,
        "walk": view.walk,
        "cells": view.cells,
        "matrix": view.matrix,
        "way": view.way,
        **{
            name: int(st.session_state.get(f"geometry.{name}", values[name]))
            for name in ("benign", "overlaid", "log")
        },
        "view": st.session_state.get("geometry.view", values["view"]),
    },
)
