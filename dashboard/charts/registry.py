"""From what measurements have found so far to charts, the same for pages and for the JSON route.

Each function takes the readings of some models and gives one chart a model, on common axes, or one
chart for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis import image_kinds
from analysis.curvature.density import smooth
from analysis.measures import MEASURES
from dashboard.charts.axes import same_axes
from dashboard.charts.bars import measure_bars
from dashboard.charts.bend import bend_chart
from dashboard.charts.chart import Chart
from dashboard.charts.loss_plane import VIEWS, plane_chart
from dashboard.charts.loss_slice import slice_chart
from dashboard.charts.rescaling import rescaling_chart
from dashboard.charts.spectrum import spectrum_chart

SMOOTHING = 0.01  # width of the spectrum's kernel, as a share of the range of the eigenvalues
BARS = ("lambda_max", "trace", "fisher_trace", "filter_lambda_max")  # measures drawn as bars
WAITING = {"data": [], "layout": {"meta": {"waiting": "Waiting for the first numbers …"}}}


@dataclass(frozen=True)
class Measured:
    """What one measurement of one model has to say so far."""

    name: str
    values: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Look:
    """How the reader wants it drawn; each chart uses what concerns it."""

    together: bool = False
    view: str = VIEWS[0]
    log: bool = False
    which: int = 0
    value: str = "lambda_max"
    at: float = 1.0


def draw(chart: str, found: Sequence[Measured], look: Look) -> list[Chart]:
    """The chart named `chart`: one for each of `found`, or a single one for all. Raises
    KeyError.
    """
    charts = CHARTS[chart](found, look)
    return [
        replace(chart, figure=WAITING) if not chart.figure["data"] else chart for chart in charts
    ]


def _slices(found: Sequence[Measured], look: Look) -> list[Chart]:
    return _each(
        slice_chart,
        [
            {
                "name": item.name,
                "data": image_kinds.title(item.values.get("data")),
                **{
                    key: item.arrays[key].tolist() if "distance" in item.arrays else []
                    for key in ("distance", "mean", "low", "high")
                },
            }
            for item in found
        ],
        look,
    )


def _each(
    build: Callable[[list[dict[str, Any]]], Chart], series: list[dict[str, Any]], look: Look
) -> list[Chart]:
    if look.together or len(series) < 2:
        return [build(series)]
    return same_axes([build([item]) for item in series])


def _lines(found: Sequence[Measured], look: Look) -> list[Chart]:
    """The line as a slice: the band is twice the standard error over images; one series for
    each kind of images.
    """
    series = []
    for item in found:
        if "t" not in item.arrays:
            continue
        loss, error = item.arrays["loss"], 2 * np.nan_to_num(item.arrays["loss_stderr"], posinf=0.0)
        kind = image_kinds.title(item.values.get("data")) or item.name
        series.append(
            {
                "name": kind,
                "data": kind,
                "distance": item.arrays["t"].tolist(),
                "mean": loss.tolist(),
                "low": (loss - error).clip(0).tolist(),
                "high": (loss + error).tolist(),
            }
        )
    return [slice_chart(series)]


def _bends(found: Sequence[Measured], look: Look) -> list[Chart]:
    return [bend_chart(item.values, item.arrays) for item in found[:1]]


def _spectra(found: Sequence[Measured], look: Look) -> list[Chart]:
    """All densities on one grid, with one width of smoothing."""
    known = [item for item in found if "nodes" in item.arrays]
    if not known:
        return [spectrum_chart([]) for _ in found[: 1 if look.together else None]]
    nodes = np.concatenate([item.arrays["nodes"] for item in known])
    low, high = float(nodes.min()), float(nodes.max())
    width = SMOOTHING * ((high - low) or 1.0)
    near = width * np.linspace(-6, 6, 121)  # most eigenvalues are near zero: more points there
    grid = np.unique(np.concatenate([np.linspace(low - 3 * width, high + 3 * width, 400), near]))
    series = [
        {
            "name": item.name,
            "grid": grid.tolist() if item in known else [],
            "density": smooth(item.arrays["nodes"], item.arrays["weights"], grid, width).tolist()
            if item in known
            else [],
            "eigenvalues": item.arrays.get("eigenvalues", np.zeros(0)).tolist(),
            "residuals": item.arrays.get("residuals", np.zeros(0)).tolist(),
            "matrix": "Fisher information" if "fisher_lambda_max" in item.values else "Hessian",
            **{
                key: item.values.get(key, item.values.get(f"fisher_{key}"))
                for key in ("lambda_max", "lambda_max_error", "lambda_min")
            },
        }
        for item in found
    ]
    return _each(spectrum_chart, series, look)


def _bars(found: Sequence[Measured], look: Look) -> list[Chart]:
    measure = MEASURES[look.value]
    return [
        measure_bars(
            [
                {
                    "name": item.name,
                    "label": measure.symbol,
                    "value": item.values.get(look.value),
                    "error": item.values.get(measure.error),
                }
                for item in found
            ]
        )
    ]


def _layers(found: Sequence[Measured], look: Look) -> list[Chart]:
    return [
        measure_bars(
            [
                {
                    "name": item.name,
                    "label": str(layer),
                    "value": float(value),
                    "error": float(error),
                }
                for item in found
                if "layer_trace" in item.arrays
                for layer, value, error in zip(
                    *(item.arrays[key] for key in ("layers", "layer_trace", "layer_trace_stderr")),
                    strict=True,
                )
            ]
        )
    ]


def _planes(found: Sequence[Measured], look: Look) -> list[Chart]:
    among = [item.arrays for item in found if "loss" in item.arrays]
    return [
        plane_chart(
            item.name,
            item.values,
            item.arrays,
            view=look.view,
            log=look.log,
            which=look.which,
            among=among,
        )
        for item in found
    ]


def _rescalings(found: Sequence[Measured], look: Look) -> list[Chart]:
    return [rescaling_chart(item.values, item.arrays, at=look.at) for item in found[:1]]


CHARTS: dict[str, Callable[[Sequence[Measured], Look], list[Chart]]] = {
    "slices": _slices,
    "planes": _planes,
    "spectra": _spectra,
    "bars": _bars,
    "layer_traces": _layers,
    "lines": _lines,
    "bends": _bends,
    "rescaling": _rescalings,
}
