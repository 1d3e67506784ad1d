"""Sharpness along a race: CA and ASR above, one measure of curvature below, on one step axis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.measures import MEASURES, Measure
from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.race import race_chart
from dashboard.charts.style import direct_labels, faint, lane_colors, lane_title, line, number
from ngf.config import PurifySpec

SHOWN = ("lambda_max", "trace", "fisher_trace")  # measures of `along_run`
ABOVE, BELOW = [0.48, 1.0], [0.0, 0.38]  # shares of the height
_SAME = 0.1  # a change by less than a tenth is not called one


def along_chart(
    spec: PurifySpec,
    events: list[dict[str, Any]],
    found: Mapping[str, Mapping[str, np.ndarray]],
    measure: str = "lambda_max",
) -> Chart:
    """`events` are those of the race, `found` the arrays of `along_run` by lane; `measure`
    one of `MEASURES`.
    """
    about = MEASURES[measure]
    title, error = _axis(about), about.error
    race = race_chart(spec, events)
    colors = lane_colors(spec.lane_names())
    traces, texts, rows, said = list(race.figure["data"]), {}, [], []
    for lane, arrays in found.items():
        steps, values, errors = (
            np.asarray(arrays[name], dtype=float) for name in ("step", measure, error)
        )
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": [*steps, *steps[::-1]],
                "hoverinfo": "skip",
                "y": [*(values - errors), *(values + errors)[::-1]],
                "fill": "toself",
                "yaxis": "y2",
                "fillcolor": faint(colors[lane]),
                "line": {"width": 0},
                "showlegend": False,
            }
        )
        texts[len(traces)] = "◆", lane_title(lane)
        traces.append(
            line(
                f"{lane_title(lane)} {title}",
                steps.tolist(),
                values.tolist(),
                colors[lane],
                dash="solid" if lane == spec.lane_names()[0] else "dash",
                symbol="diamond",
                yaxis="y2",
                showlegend=False,
                hovertemplate=f"%{{y:.4g}}<extra>{lane_title(lane)}, step %{{x}}</extra>",
            )
        )
        rows += [
            {
                "Lane": lane_title(lane),
                "Step": int(step),
                title: value,
                "Error": width,
                "Loss": loss,
                "Distance from the start": moved,
            }
            for step, value, width, loss, moved in zip(
                steps, values, errors, arrays["loss"], arrays["distance_from_start"], strict=True
            )
        ]
        said.append(_change(lane_title(lane), values, int(steps[-1])))
    shown = [float(edge) for lane in found for edge in (*found[lane][measure], 0.0)]
    high = 1.12 * max(shown, default=1.0) or 1.0
    low = min(0.0, 1.12 * min(shown, default=0.0))
    frame = race.figure["layout"]
    layout = {
        **frame,
        "xaxis": {**frame["xaxis"], "anchor": "y2"},
        "yaxis": {**frame["yaxis"], "domain": ABOVE},
        "yaxis2": {
            "title": {"text": title, "standoff": 8},
            "domain": BELOW,
            "range": [low, high],
            "zeroline": False,
            "automargin": True,
            "anchor": "x",
        },
    }
    layout["annotations"] = [
        *frame["annotations"],
        *direct_labels(traces, texts, low=low, high=high, gap=0.14),
    ]
    finding = f"{title}: {'; '.join(said)}." if said else ""
    return make_chart(
        traces,
        layout,
        rows,
        finding,
        f"Two panels over the steps. Above: {race.alt} Below: {finding}" if said else "",
    )


def _change(name: str, values: np.ndarray, step: int) -> str:
    """`NGF ends at 30.1, 2.1 times its start (14.1), with a peak of 52 on the way`"""
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


def _axis(measure: Measure) -> str:
    """`Trace of the Hessian, Tr(H)`"""
    named = measure.symbol in measure.title
    return measure.title if named else f"{measure.title}, {measure.symbol}"
