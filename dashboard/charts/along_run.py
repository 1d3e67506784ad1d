"""Sharpness along a race: CA and ASR above, one measure of curvature below, on one step axis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from analysis.measures import MEASURES, Measure
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
LIVE = ("lambda_max", "fisher_trace")  # those that are shown while a race goes on
UPPER, LOWER = [0.56, 1.0], [0.0, 0.44]  # their shares of the height
ABOVE, BELOW = [0.48, 1.0], [0.0, 0.38]  # shares of the height
_SAME = 0.1  # a change by less than a tenth is not called one
Arrays = Mapping[str, np.ndarray]


def along_chart(
    spec: PurifySpec,
    events: Iterable[Event],
    found: Mapping[str, Arrays],
    measure: str = "lambda_max",
) -> Chart:
    """`events` are those of the race, `found` the arrays of `along_run` by lane; `measure`
    one of `MEASURES`.
    """
    about = MEASURES[measure]
    race = race_chart(spec, events)
    marks, lanes = lane_marks(spec.lane_names()), spec.lane_names()
    traces, texts = list(race.figure["data"]), {}
    for lane, arrays in found.items():
        dash = DASHES[lanes.index(lane) % len(DASHES)]
        traces += _lane(lane, arrays, about, marks[lane], dash)
        texts[len(traces) - 1] = marks[lane].glyph, lane_title(lane)
    frame = race.figure["layout"]
    values = [float(value) for arrays in found.values() for value in arrays[measure]]
    layout = {
        **frame,
        "xaxis": {**frame["xaxis"], "anchor": "y2"},
        "yaxis": {**frame["yaxis"], "domain": ABOVE},
        "yaxis2": _axis(_title(about), values),
        "annotations": [*frame["annotations"], *direct_labels(traces, texts)],
    }
    rows = [row for lane, arrays in found.items() for row in _rows(lane, arrays, about)]
    said = "; ".join(_change(lane_title(lane), arrays, measure) for lane, arrays in found.items())
    finding = f"{_title(about)}: {said}." if said else ""
    alt = f"Two panels over the steps. Above: {race.alt} Below: {finding}" if said else ""
    return make_chart(traces, layout, rows, finding, alt)


def curvature_chart(
    spec: PurifySpec, events: Iterable[Event], found: Mapping[str, Arrays]
) -> Chart:
    """Two measures below a race, on its axis of steps: the largest Hessian eigenvalue and the
    Fisher trace of each lane. A ball lies at the step that the race shows.

    events, found: as for `along_chart`.
    """
    frame = race_chart(spec, events).figure["layout"]
    marks, lanes = lane_marks(spec.lane_names()), spec.lane_names()
    layout = {**frame, "xaxis": {**frame["xaxis"], "anchor": "y2"}, "annotations": []}
    traces: list[Trace] = []
    balls: list[int] = []
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    said = []
    for name, axis, domain in zip(LIVE, ("y", "y2"), (UPPER, LOWER), strict=True):
        measure, texts = MEASURES[name], {}
        for lane, arrays in found.items():
            dash = DASHES[lanes.index(lane) % len(DASHES)]
            traces += _lane(lane, arrays, measure, marks[lane], dash, axis)
            balls.append(len(traces) - 1)
            texts[balls[-1]] = marks[lane].glyph, lane_title(lane)
            for row in _rows(lane, arrays, measure):
                rows.setdefault((lane, row["Step"]), {}).update(
                    {{"Error": f"Error of {measure.symbol}"}.get(k, k): v for k, v in row.items()}
                )
        values = [float(value) for arrays in found.values() for value in arrays[name]]
        layout["yaxis" + axis[1:]] = _axis(measure.symbol, values) | {"domain": domain}
        layout["annotations"] += direct_labels(traces, texts)
        said.append(
            f"{_title(measure)}: "
            + "; ".join(_change(lane_title(lane), one, name) for lane, one in found.items())
        )
    layout["meta"] = {"balls": balls, "x_name": "step"}
    finding = f"{'. '.join(said)}." if found else ""
    return make_chart(traces, layout, list(rows.values()), finding, f"Two panels. {finding}")


def _lane(
    lane: str, arrays: Arrays, measure: Measure, mark: Mark, dash: str, axis: str = "y2"
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
        "domain": BELOW,
        "range": [low, high],
        "zeroline": False,
        "automargin": True,
        "anchor": "x",
    }


def _rows(lane: str, arrays: Arrays, measure: Measure) -> list[dict[str, Any]]:
    keys = ("step", measure.name, measure.error, "loss", "distance_from_start")
    columns = (np.asarray(arrays[key], dtype=float).tolist() for key in keys)
    return [
        {
            "Lane": lane_title(lane),
            "Step": int(step),
            _title(measure): value,
            "Error": error,
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
