"""What was measured of the models on show: slices, spectra and numbers, on one axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st

from analysis import image_kinds
from analysis.measures import MEASURES, found_by
from dashboard.charts.chart import Chart
from dashboard.charts.compared import Entry, Shown
from dashboard.charts.loss_slice import Walk, slices
from dashboard.charts.registry import ChartOptions, draw
from dashboard.charts.spectrum import MOST, SMOOTHING
from dashboard.charts.style import number, with_error
from dashboard.charts.subject import Measured
from dashboard.compare.lanes import Lane, colored, entry_of, told_apart
from dashboard.kit import library, measuring
from dashboard.kit.measuring import Side, View
from dashboard.kit.show import show
from dashboard.kit.submit import show_refusal, submit_all
from ngf.config import MeasureSpec, Target
from ngf.runs.folder import ACTIVE

NAMES = ("loss_slice", "hessian_spectrum", "fisher_trace", "sharpness")
TABLE = NAMES[1:]  # those that find numbers
PLACE = "compare.measuring"  # where a refusal is said
_FEW = 4  # models that a sentence names one by one
Found = Mapping[str, Sequence[Measured]]  # by measurement


def models(shown: Sequence[Entry], known: Mapping[str, Lane], by: str) -> list[Entry]:
    """The models on show that there are, and those that they were made of."""
    there = {entry.target: entry for entry in shown if entry.diverged is None}
    parents = dict.fromkeys(entry.model for entry in shown if entry.purified)
    before = [
        entry
        for target in parents
        if target not in there and target in known
        if (entry := entry_of(known[target])) is not None
    ]
    return colored(told_apart([*before, *there.values()]), by)


def view_of(found: Sequence[Entry]) -> View:
    """These models on clean images, along the steepest direction of each over common lengths."""
    return View(
        tuple(
            Side(
                Shown(entry.role, Target.parse(entry.target).lane, name=entry.name, own=entry.mark),
                entry.target,
            )
            for entry in found
        )
    )


def read(view: View) -> dict[str, list[Measured]]:
    """What is there of each measurement, model by model."""
    found: dict[str, list[Measured]] = {}
    for name in NAMES:
        for side, spec in view.specs(name):
            reading = measuring.read(spec)
            if reading is not None:
                found.setdefault(name, []).append(
                    Measured(side.subject, reading.values, reading.arrays)
                )
    return found


def show_measured(view: View, found: Found) -> None:
    """The pictures and numbers that there are, and the button for the others."""
    st.header("The minima")
    specs = list({item.id: item for name in NAMES for _, item in view.specs(name)}.values())
    _show_missing(specs)
    if walks := found.get("loss_slice"):
        chart = draw("slices", walks, ChartOptions(together=True))[0]
        show(_told(chart, walks), "compare.slices", name="loss slices", height=380)
        st.caption(
            f"{measured_on(walks)} Along the steepest direction of each model, over the same "
            "distance relative to its filters."
        )
    if spectra := found.get("hessian_spectrum"):
        chart = draw("spectra", spectra, ChartOptions(together=True))[0]
        many = len(spectra) > MOST
        height = 90 + 28 * len(spectra) if many else 380
        show(chart, "compare.spectra", name="Hessian spectra", height=height)
        how = (
            "Strokes: eigenvalues that the Lanczos steps have found; a mark: the largest."
            if many
            else f"Smoothed by {100 * SMOOTHING:g} % of the range."
        )
        st.caption(f"{measured_on(spectra)} {how}")
    if (frame := table(found)) is not None:
        st.dataframe(
            frame,
            hide_index=True,
            width="stretch",
            alt="Sharpness of each model, with error bars",
        )
        st.caption(
            f"{measured_on([one for name in TABLE for one in found.get(name, ())])} ±: a bound for "
            "eigenvalues, one standard error for estimates."
        )


def _show_missing(specs: Sequence[MeasureSpec]) -> None:
    """How much of it is measured, and one button for what is not."""
    states = measuring.progress(specs)
    missing = measuring.to_do(states)
    active = [run_id for name in ACTIVE for run_id in states.get(name, [])]
    with st.container(horizontal=True, vertical_alignment="center"):
        if missing:
            st.button(
                f"Measure what is missing ({len(missing)})",
                icon=":material/straighten:",
                key="compare.measure",
                on_click=_ask,
                args=tuple(item for item in specs if item.id in missing),
                help="Loss slice, Hessian spectrum, Fisher trace and sharpness of each model, on "
                "clean images.",
            )
        if active:
            measuring.show_stop(active, "compare.stop")
        else:
            st.caption(measuring.sentence(states))
    if active:
        measuring.watch(specs, states)
    show_refusal(PLACE)


def _ask(*specs: MeasureSpec) -> None:
    """Submit these measurements, for the button."""
    submit_all(PLACE, *specs)


def measured_on(found: Sequence[Measured]) -> str:
    """What the numbers are of: images, n, seed, BatchNorm mode."""

    def told(key: str) -> list[Any]:
        return list(
            dict.fromkeys(one.values[key] for one in found if one.values.get(key) is not None)
        )

    counts = [f"{count:,}" for count in told("n") if isinstance(count, int)]
    parts = [
        " and ".join(image_kinds.title(str(kind)) for kind in told("data")),
        f"n = {' or '.join(counts)}" if counts else "",
        f"seed {library.plain(' or '.join(map(str, told('seed'))))}" if told("seed") else "",
        "BatchNorm in eval mode (stored averages)" if told("batch_norm") == ["eval"] else "",
    ]
    return f"*Measured*: {' · '.join(filter(None, parts))}."


def _told(chart: Chart, found: Sequence[Measured]) -> Chart:
    """The chart with a sentence of its own where there are too many models to name."""
    walks = [walk for walk in slices(found) if walk.distance]
    if len(walks) <= _FEW:
        return chart
    rises = sorted((_rise(walk), walk.subject.title) for walk in walks)
    (low, flat), (high, steep) = rises[0], rises[-1]
    said = (
        f"At the ends of the walk, the loss of {len(walks)} models has risen by {number(low)} "
        f"({flat}) to {number(high)} ({steep})."
    )
    return replace(chart, finding=said, alt=said)


def _rise(walk: Walk) -> float:
    """How far the mean loss at both ends is above that at the center."""
    loss = dict(zip(walk.distance, walk.mean, strict=True))
    return (loss[min(loss)] + loss[max(loss)]) / 2 - loss[walk.at(0.0)]


def values(found: Found) -> dict[str, dict[str, Any]]:
    """The measures of each model with their errors, by its name."""
    of: dict[str, dict[str, Any]] = {}
    for name in TABLE:
        keys = {key for measure in found_by(name) for key in (measure.name, measure.error) if key}
        for one in found.get(name, ()):
            of.setdefault(one.subject.title, {}).update(
                {key: value for key, value in one.values.items() if key in keys}
            )
    return of


def table(found: Found) -> pd.DataFrame | None:
    """A row for each model; measures that nobody has are left out. None where there is nothing."""
    of = values(found)
    known = [
        measure
        for measure in MEASURES.values()
        if any(own.get(measure.name) is not None for own in of.values())
    ]
    if not known:
        return None
    return pd.DataFrame(
        [
            {
                "Model": model,
                **{
                    measure.title: "–"
                    if own.get(measure.name) is None
                    else with_error(own[measure.name], own.get(measure.error))
                    for measure in known
                },
            }
            for model, own in of.items()
        ]
    )
