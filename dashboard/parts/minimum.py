"""The measurements of a minimum before and after a purification: which runs they are, and how they stand."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from dashboard.charts.style import lane_title
from dashboard.parts import library
from ngf.catalogue import catalogue, normalize
from ngf.config import Choice, MeasureSpec, SpecError
from ngf.jobs.store import Run

IMAGES = {"clean": "Clean images", "triggered_true": "Triggered images, true labels",
          "triggered_target": "Triggered images, target labels"}
# what is measured by one click, cheapest first
ALL = ("loss_slice", "fisher_trace", "loss_line", "hessian_spectrum")


@dataclass(frozen=True)
class Side:
    """One of the two models that are compared."""

    title: str
    target: str  # as in MeasureSpec: `id` or `id:lane`


def sides(run: Run, lane: str) -> list[Side]:
    """Before and after; a training alone has only one side."""
    origin = library.ancestor(run)
    attacked = origin is None or origin.spec.attack.name != "none"
    before = Side("Backdoored" if attacked else "Benign",
                  run.spec.parent if run.spec.kind == "purify" else run.spec.id)
    if run.spec.kind == "train":
        return [before]
    return [before, Side(f"Purified by {lane_title(lane)}", f"{run.spec.id}:{lane}")]


def spec(measurement: str, side: Side, images: str, seed: int) -> MeasureSpec:
    """The run that measures one side. Raises SpecError."""
    known = {item["name"] for item in catalogue()["measurements"][measurement]["fields"]}
    options = {"data": images} if "data" in known else {}
    return MeasureSpec(target=side.target, seed=seed,
                       measurement=normalize("measurements", Choice(measurement, options)))


def kinds(run: Run) -> list[str]:
    """The images that can be measured on; a benign model has no trigger."""
    origin = library.ancestor(run)
    return ["clean"] if origin is not None and origin.spec.attack.name == "none" else list(IMAGES)


def wanted(run: Run, lane: str, images: str, seed: int) -> list[MeasureSpec]:
    """Every measurement of both sides on `images`; the line between them on all kinds of images."""
    both = sides(run, lane)
    out = []
    for name in ALL:
        if name not in catalogue()["measurements"]:
            continue
        if name == "loss_line":
            out += [spec(name, side, kind, seed) for side in both[1:] for kind in kinds(run)]
        else:
            out += [spec(name, side, images, seed) for side in both]
    return out


def submit(run_id: str, lane: str, images: str = "clean", seed: int = 0) -> None:
    """Ask for the measurements that are not there yet (for a button)."""
    run = find(run_id)
    if run is None:
        return
    st.session_state["minimum.refused"] = ""
    try:
        if run.spec.kind == "purify":
            library.adopt(run)
        for item in wanted(run, lane, images, seed):
            library.store().submit(item, library.owner())
    except (SpecError, OSError) as error:
        st.session_state["minimum.refused"] = str(error)


def stop(ids: list[str]) -> None:
    """Stop the measurements that wait or run (for a button)."""
    for run_id in ids:
        run = library.find(run_id)
        if run is not None and run.status in library.OPEN:
            run.control("cancel")


def find(run_id: str) -> Run | None:
    """A run of the store, or the recording under the name that its specification has."""
    recorded = library.recording()
    if recorded is not None and run_id == recorded.spec.id:
        return recorded
    return library.find(run_id)


def progress(specs: list[MeasureSpec]) -> dict[str, list[str]]:
    """Ids by state; `missing` for those that nobody asked for."""
    out: dict[str, list[str]] = {}
    for item in specs:
        run = library.find(item.id)
        out.setdefault(run.status if run else "missing", []).append(item.id)
    return out


def sentence(states: Mapping[str, list[str]]) -> str:
    """`3 of 7 measurements done, 1 running, 3 waiting.`"""
    total = sum(map(len, states.values()))
    words = {"running": "running", "queued": "waiting", "failed": "failed", "cancelled": "stopped",
             "paused": "paused", "lost": "interrupted"}
    text = f"{len(states.get('done', []))} of {total} measurements done"
    return text + "".join(f", {len(states[name])} {word}" for name, word in words.items()
                          if name in states) + "."


def show_progress(run: Run, lane: str) -> None:
    """One line below the button of the Lab, which moves while something is measured."""
    if st.session_state.get("minimum.refused"):
        st.error(st.session_state["minimum.refused"], icon=":material/block:")
    specs = wanted(run, lane, "clean", 0)
    states = progress(specs)
    if states.keys() & set(library.ACTIVE):
        _watch(specs)
    elif len(states.get("missing", [])) < len(specs):
        st.caption(sentence(states))


@st.fragment(run_every=1)
def _watch(specs: list[MeasureSpec]) -> None:
    states = progress(specs)
    st.caption(sentence(states))
    if not states.keys() & set(library.ACTIVE):
        st.rerun()


@dataclass(frozen=True)
class Reading:
    """What a measurement run has to say so far."""

    run: Run
    values: dict[str, Any]
    arrays: dict[str, np.ndarray]


def read(item: MeasureSpec) -> Reading | None:
    """Values and arrays so far: from the result when there is one, else from the last partial event."""
    run = library.find(item.id)
    if run is None:
        return None
    result = run.result
    if result is not None:
        return Reading(run, result.get("values", {}), _arrays(run))
    partial = [event for event in run.events() if event["type"] == "partial"]
    return Reading(run, partial[-1], _arrays(run)) if partial else None


def _arrays(run: Run) -> dict[str, np.ndarray]:
    path = run.path / "arrays.npz"
    try:
        return _load(str(path), path.stat().st_mtime_ns)
    except (FileNotFoundError, zipfile.BadZipFile):  # not there yet, or deleted just now
        return {}


@st.cache_data(max_entries=200, show_spinner=False)
def _load(path: str, changed: int) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
