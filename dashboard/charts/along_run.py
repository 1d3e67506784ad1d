"""Sharpness along a race: one panel for each measure of curvature, on the race's axis of steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from analysis.measures import MEASURES, Measure
from dashboard.charts.axes import stack
from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.race import race_chart
from dashboard.charts.rates import Event
from dashboard.charts.style import (
    DASHES,
    Mark,
    Trace,
    band,
    direct_labels,
    escape,
    lane_marks,
    line,
    number,
)
from dashboard.charts.titles import lane_title
from ngf.config import PurifySpec

SHOWN = ("lambda_max", "trace", "fisher_trace")  # measures of `along_run`
FIRST = ("lambda_max", "fisher_trace")  # those that are shown unless somebody chooses
_SAME = 0.1  # a change by less than a tenth is not called one
Arrays = Mapping[str, np.ndarray]


def curvature_chart(
    spec: PurifySpec,
    events: Iterable[Event],
    found: Mapping[str, Arrays],
    measures: Sequence[str] = FIRST,
) -> Chart:
    """One panel for each measure, below a race and on its axis of steps. A ball lies at the step
    that the race shows.

    events: those of the race; found: the arrays of `along_run` by lane; measures: of `SHOWN`.
    """
    frame = race_chart(spec, events).figure["layout"]
    marks, lanes = lane_marks(spec.lane_names()), spec.lane_names()
    traces: list[Trace] = []
    panels: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    balls: list[int] = []
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    said = []
    for place, measure in enumerate(MEASURES[name] for name in measures):
        axis, texts = f"y{place + 1}" if place else "y", {}
        for lane, arrays in found.items():
            dash = DASHES[lanes.index(lane) % len(DASHES)]
            traces += _lane(lane, arrays, measure, marks[lane], dash, axis)
            balls.append(len(traces) - 1)
            texts[balls[-1]] = marks[lane].glyph, lane_title(lane)
            for row in _rows(lane, arrays, measure):
                rows.setdefault((lane, row["Step"]), {}).update(row)
        values = [float(value) for arrays in found.values() for value in arrays[measure.name]]
        panels.append(_axis(measure.symbol, values))
        annotations += direct_labels(traces, texts)
        changes = [_change(lane_title(lane), one, measure.name) for lane, one in found.items()]
        said.append(f"{_title(measure)}: {'; '.join(changes)}")
    layout = stack(
        {**frame, "xaxis": dict(frame["xaxis"]), "yaxis": {}, "annotations": annotations}, panels
    )
    layout["meta"] = {"balls": balls, "x_name": "step"}
    finding = f"{'. '.join(said)}." if found else ""
    return make_chart(
        traces, layout, list(rows.values()), finding, f"{len(measures)} panels. {finding}"
    )


def _lane(
    lane: str, arrays: Arrays, measure: Measure, mark: Mark, dash: str, axis: str
) -> list[Trace]:
    """The error band of one lane, and the line on it."""
    steps, values, errors = (
        np.asarray(arrays[name], dtype=float) for name in ("step", measure.name, measure.error)
    )
    name = lane_title(lane)
    low, high = (values - errors).tolist(), (values + errors).tolist()
    return [
        band(steps.tolist(), low, high, mark.color, yaxis=axis),
        line(
            f"{name} {_title(measure)}",
            steps.tolist(),
            values.tolist(),
            mark.color,
            dash=dash,
            symbol=mark.symbol,
            yaxis=axis,
            showlegend=False,
            hovertemplate=f"%{{y:.4g}}<extra>{escape(name)}, step %{{x}}</extra>",
        ),
    ]


def _axis(title: str, values: Sequence[float]) -> dict[str, Any]:
    """Zero is on the lower axis, and some room above."""
    high = 1.12 * max([*values, 0.0]) or 1.0
    low = 1.12 * min([*values, 0.0])
    return {
        "title": {"text": title, "standoff": 8},
        "range": [low, high],
        "zeroline": False,
        "automargin": True,
    }


def _rows(lane: str, arrays: Arrays, measure: Measure) -> list[dict[str, Any]]:
    keys = ("step", measure.name, measure.error, "loss", "distance_from_start")
    columns = (np.asarray(arrays[key], dtype=float).tolist() for key in keys)
    return [
        {
            "Lane": lane_title(lane),
            "Step": int(step),
            _title(measure): value,
            f"Error of {measure.symbol}": error,
            "Loss": loss,
            "Distance from the start": moved,
        }
        for step, value, error, loss, moved in zip(*columns, strict=True)
    ]


def _change(name: str, arrays: Arrays, measure: str) -> str:
    """`NGF is at 30.1 after step 100, 2.1 times its start (14.1), after a peak of 52`"""
    values, step = arrays[measure], int(arrays["step"][-1])
    start, end, top = float(values[0]), float(values[-1]), float(values.max())
    text = f"{name} is at {number(end)} after step {step}"
    if start > 0:
        ratio = end / start
        text += (
            f", about where it started ({number(start)})"
            if abs(ratio - 1) < _SAME
            else f", {number(ratio, 2)} times its start ({number(start)})"
        )
    if top > 1.5 * max(start, end):
        text += f", after a peak of {number(top)}"
    return text


def _title(measure: Measure) -> str:
    """`Trace of the Hessian, Tr(H)`"""
    named = measure.symbol in measure.title
    return measure.title if named else f"{measure.title}, {measure.symbol}"
