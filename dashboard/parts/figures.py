"""The pictures of a minimum: measured arrays in, charts side by side on the same axes out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import streamlit as st

from analysis.density import smooth
from dashboard.charts.bars import measure_bars
from dashboard.charts.chart import Chart
from dashboard.charts.loss_slice import slice_chart
from dashboard.charts.spectrum import spectrum_chart
from dashboard.parts import glossary, minimum
from dashboard.parts.minimum import IMAGES, Reading, Side
from dashboard.parts.show import show

SMOOTHING = 0.01  # width of the spectrum's kernel, as a share of the range of the eigenvalues
LIMITS = {
    "slice": "A slice is a walk along a few random directions out of tens of thousands; another valley may be "
             "one step away. A network can also be rescaled, layer by layer, so that it predicts the same and "
             "looks sharper or flatter. Look at the spectrum and the numbers before you believe the picture.",
    "spectrum": "The density comes from a few random start vectors and is smoothed; a thin peak may be missing. "
                "The Hessian is that of a few hundred images, not of all data, and it is not invariant: "
                "rescaling a layer changes it although the predictions stay.",
    "fisher": "The trace adds up all directions, so one very steep direction and many mild ones look alike. "
              "Layers with more weights have more to add up.",
    "line": "A straight line is one path of many. A hill on it does not prove that the two models lie in "
            "different valleys; a curved path may go around it.",
}


def same_axes(charts: list[Chart]) -> list[Chart]:
    """The charts with one common range on each axis, so that they can be compared by eye."""
    figures = [{**chart.figure, "layout": dict(chart.figure["layout"])} for chart in charts]
    for axis in ("x", "y"):
        name = f"{axis}axis"
        shapes = [figure["layout"].get(name, {}) for figure in figures]
        if any("categoryorder" in shape or shape.get("type") == "category" for shape in shapes):
            continue
        ranges = [shape["range"] if "range" in shape else _extent(figure["data"], axis, shape.get("type"))
                  for figure, shape in zip(figures, shapes, strict=True)]
        ranges = [pair for pair in ranges if pair]
        if not ranges:
            continue
        common = [min(pair[0] for pair in ranges), max(pair[1] for pair in ranges)]
        for figure, shape in zip(figures, shapes, strict=True):
            figure["layout"][name] = {**shape, "range": common, "autorange": False}
    return [replace(chart, figure=figure) for chart, figure in zip(charts, figures, strict=True)]


def _extent(traces: Iterable[dict[str, Any]], axis: str, scale: str | None) -> list[float] | None:
    drawn = [trace[axis] for trace in traces if trace.get(axis) is not None]
    found = [float(value) for values in drawn for value in values
             if isinstance(value, (int, float)) and math.isfinite(value)]
    if scale == "log":
        found = [math.log10(value) for value in found if value > 0]
    if not found:
        return None
    pad = 0.05 * (max(found) - min(found) or 1.0)
    return [min(found) - pad, max(found) + pad]


def beside(build: Callable[[list[dict[str, Any]]], Chart], series: list[dict[str, Any]], key: str, name: str,
           overlaid: bool) -> None:
    """One chart a model side by side on the same axes, or all of them in one chart."""
    if overlaid or len(series) < 2:
        show(build(series), key, name=name)
        return
    charts = same_axes([build([item]) for item in series])
    for column, chart, item in zip(st.columns(len(series)), charts, series, strict=True):
        with column:
            st.markdown(f"**{item['name']}**")
            show(chart, f"{key}.{item['name']}", name=f"{name}, {item['name'].lower()}", height=320)


def facts(readings: list[Reading], more: str = "") -> None:
    """What the numbers are of: data, n, seed, BatchNorm mode."""
    values = readings[0].values
    mode = {"eval": "BatchNorm in eval mode (stored averages)"}.get(values.get("batch_norm"), "")
    parts = [IMAGES.get(values.get("data"), ""), f"n = {values['n']:,}" if values.get("n") else "",
             f"seed {values['seed']}" if values.get("seed") is not None else "", mode, more]
    st.caption("*Measured*: " + " · ".join(part for part in parts if part) + ".")


def words(limit: str, *terms: str) -> None:
    """What the picture shows, and what it cannot show, each one click away."""
    with st.container(horizontal=True):
        glossary.explain(*terms, label="What this is")
        if limit:
            with st.popover("What this picture cannot tell you", icon=":material/visibility_off:"):
                st.markdown(LIMITS[limit])


def slice_series(side: Side, reading: Reading) -> dict[str, Any] | None:
    arrays = reading.arrays
    if "distance" not in arrays:
        return None
    return {"name": side.title, "data": IMAGES[reading.values.get("data", "clean")],
            **{name: arrays[name].tolist() for name in ("distance", "mean", "low", "high")}}


def line_series(reading: Reading) -> dict[str, Any] | None:
    """The line as a slice: the band is twice the standard error over images."""
    arrays = reading.arrays
    if "t" not in arrays:
        return None
    loss, error = arrays["loss"], 2 * arrays["loss_stderr"]
    kind = IMAGES[reading.values.get("data", "clean")]
    return {"name": kind, "data": kind, "distance": arrays["t"].tolist(), "mean": loss.tolist(),
            "low": (loss - error).clip(0).tolist(), "high": (loss + error).tolist()}


def spectrum_series(pairs: list[tuple[Side, Reading]]) -> list[dict[str, Any]]:
    """Both densities on one grid, with one width of smoothing."""
    pairs = [(side, reading) for side, reading in pairs if "nodes" in reading.arrays]
    if not pairs:
        return []
    nodes = np.concatenate([reading.arrays["nodes"] for _, reading in pairs])
    low, high = float(nodes.min()), float(nodes.max())
    width = SMOOTHING * ((high - low) or 1.0)
    near = width * np.linspace(-6, 6, 121)  # most eigenvalues are near zero: more points there
    grid = np.unique(np.concatenate([np.linspace(low - 3 * width, high + 3 * width, 400), near]))
    return [{"name": side.title, "grid": grid.tolist(),
             "density": smooth(reading.arrays["nodes"], reading.arrays["weights"], grid, width).tolist(),
             "eigenvalues": reading.arrays["eigenvalues"].tolist(),
             "weights": reading.arrays["weights"].tolist(),
             "lambda_max": reading.values.get("lambda_max"),
             "lambda_max_error": reading.values.get("lambda_max_error")} for side, reading in pairs]


def bars(pairs: list[tuple[Side, Reading]], label: str, value: str, error: str) -> list[dict[str, Any]]:
    return [{"name": side.title, "label": label, "value": reading.values[value],
             "error": reading.values.get(error)}
            for side, reading in pairs if reading.values.get(value) is not None]


def layer_bars(side: Side, reading: Reading) -> list[dict[str, Any]]:
    names, values, errors = (reading.arrays.get(name, ()) for name in
                             ("layers", "layer_trace", "layer_trace_stderr"))
    return [{"name": side.title, "label": str(name), "value": float(value), "error": float(error)}
            for name, value, error in zip(names, values, errors, strict=True)]


class Minimum:
    """Everything that was measured of both sides so far, one section a method."""

    def __init__(self, sides: list[Side], images: str, seed: int, overlaid: bool):
        self.sides, self.images, self.seed, self.overlaid = sides, images, seed, overlaid

    def readings(self, measurement: str, images: str = "") -> list[tuple[Side, Reading]]:
        found = [(side, minimum.read(minimum.spec(measurement, side, images or self.images, self.seed)))
                 for side in self.sides]
        return [(side, reading) for side, reading in found if reading is not None]

    def slices(self) -> bool:
        pairs = self.readings("loss_slice")
        series = [item for side, reading in pairs if (item := slice_series(side, reading))]
        if series:
            beside(slice_chart, series, "geometry.slice", "loss slice", self.overlaid)
            count = pairs[0][1].values.get("num_directions")
            facts([reading for _, reading in pairs], f"{count} random directions, scaled filter by filter"
                  if count else "")
            words("slice", "slice", "batchnorm")
        return bool(series)

    def spectrum(self) -> bool:
        pairs = self.readings("hessian_spectrum")
        series = spectrum_series(pairs)
        if series:
            beside(spectrum_chart, series, "geometry.spectrum", "Hessian spectrum", self.overlaid)
            facts([reading for _, reading in pairs], f"smoothed by {100 * SMOOTHING:g} % of the range")
            words("spectrum", "spectrum", "lambda_max")
        return bool(series)

    def numbers(self) -> bool:
        hessian, fisher = self.readings("hessian_spectrum"), self.readings("fisher_trace")
        groups = [bars(hessian, "λmax", "lambda_max", "lambda_max_error"),
                  bars(hessian, "Tr(H)", "trace", "trace_stderr"),
                  bars(fisher, "Tr(F)", "fisher_trace", "fisher_trace_stderr")]
        groups = [group for group in groups if group]
        for column, group in zip(st.columns(max(1, len(groups))), groups, strict=False):
            with column:
                label = group[0]["label"]
                show(measure_bars(group), f"geometry.bars.{label}", name=label, height=220)
        if groups:
            facts([reading for _, reading in hessian or fisher],
                  "error bars: certificate of λmax, standard errors of the traces")
            words("", "lambda_max", "trace", "fisher")
        return bool(groups)

    def layers(self) -> bool:
        pairs = self.readings("fisher_trace")
        found = [item for side, reading in pairs for item in layer_bars(side, reading)]
        if found:
            height = 140 + 40 * len({item["label"] for item in found})
            show(measure_bars(found), "geometry.layers", name="Fisher trace by layer", height=height)
            facts([reading for _, reading in pairs], "labels drawn from the model; error bars: standard errors")
            words("fisher", "fisher")
        return bool(found)

    def line(self) -> bool:
        readings = [reading for kind in IMAGES for _, reading in Minimum(
            self.sides[1:], kind, self.seed, True).readings("loss_line")]
        series = [item for reading in readings if (item := line_series(reading))]
        if series:
            show(slice_chart(series), "geometry.line", name="line between the models")
            facts(readings[:1], "0 is the model before, 1 the model after; the band is two standard errors")
            words("line", "line")
        return bool(series)
