"""The picture that a measurement declares for itself: a number per model, or a curve per model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dashboard.charts.bars import bars_of_value, measure_bars
from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import Trace, band, base_layout, line, listed, number, percent
from dashboard.charts.subject import Measured

About = Mapping[str, Any]


def picture_chart(found: Sequence[Measured], about: About) -> Chart:
    """All models in one chart. about: an `analysis.measurements.base.Picture` as JSON."""
    return _curves(found, about) if about["over"] else _bars(found, about)


def _bars(found: Sequence[Measured], about: About) -> Chart:
    return measure_bars(bars_of_value(found, about["label"], about["value"], about["error"]))


def _curves(found: Sequence[Measured], about: About) -> Chart:
    there = [item for item in found if len(item.arrays.get(about["value"], ()))]
    traces: list[Trace] = []
    rows: list[dict[str, Any]] = []
    for item in there:
        scale, mark = _scale(about), item.subject.mark
        x, y = item.arrays[about["over"]], scale * item.arrays[about["value"]]
        if (ends := _ends(item, about)) is not None:
            low, high = (scale * end for end in ends)
            traces.append(band(x.tolist(), low.tolist(), high.tolist(), mark.color))
        traces.append(
            line(item.subject.title, x.tolist(), y.tolist(), mark.color, symbol=mark.symbol)
        )
        rows += [
            {"Model": item.subject.title, about["over_label"]: a, _label(about): b}
            for a, b in zip(x.tolist(), y.tolist(), strict=True)
        ]
    layout = base_layout(
        about["over_label"],
        _label(about),
        showlegend=len(there) > 1,
        yaxis=_axis(about),
    )
    return make_chart(traces, layout, rows, _finding(there, about))


def _scale(about: About) -> float:
    return 100.0 if about["share"] else 1.0


def _label(about: About) -> str:
    return f"{about['label']} (%)" if about["share"] else str(about["label"])


def _axis(about: About) -> dict[str, Any]:
    if about["share"]:
        return {"range": [-3, 103]}
    return {"type": "log", "dtick": "D2"} if about["log"] else {}


def _ends(item: Measured, about: About) -> tuple[np.ndarray, np.ndarray] | None:
    """What the curve lies between; None where nothing tells."""
    value, error = item.arrays[about["value"]], item.arrays.get(about["error"])
    if error is not None:
        return value - error, value + error
    low, high = item.arrays.get(about["low"]), item.arrays.get(about["high"])
    return None if low is None or high is None else (low, high)


def _finding(there: Sequence[Measured], about: About) -> str:
    said = percent if about["share"] else number
    parts = [
        f"from {said(float(values[0]))} to {said(float(values[-1]))} for {item.subject.phrase}"
        for item in there
        for values in [item.arrays[about["value"]]]
    ]
    return f"{about['label']} goes {listed(parts)}." if parts else ""
