"""The picture that a measurement declares for itself: a number per model, or a curve per model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboard.charts.bars import bars_of_value, measure_bars
from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import Trace, band, base_layout, line, listed, number
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
        x, y = item.arrays[about["over"]], item.arrays[about["value"]]
        error, mark = item.arrays.get(about["error"]), item.subject.mark
        if error is not None:
            traces.append(band(x.tolist(), (y - error).tolist(), (y + error).tolist(), mark.color))
        traces.append(
            line(item.subject.title, x.tolist(), y.tolist(), mark.color, symbol=mark.symbol)
        )
        rows += [
            {"Model": item.subject.title, about["over_label"]: a, about["label"]: b}
            for a, b in zip(x.tolist(), y.tolist(), strict=True)
        ]
    layout = base_layout(
        about["over_label"],
        about["label"],
        showlegend=len(there) > 1,
        yaxis={"type": "log", "dtick": "D2"} if about["log"] else {},
    )
    return make_chart(traces, layout, rows, _finding(there, about))


def _finding(there: Sequence[Measured], about: About) -> str:
    parts = [
        f"from {number(float(values[0]))} to {number(float(values[-1]))} for {item.subject.phrase}"
        for item in there
        for values in [item.arrays[about["value"]]]
    ]
    return f"{about['label']} goes {listed(parts)}." if parts else ""
