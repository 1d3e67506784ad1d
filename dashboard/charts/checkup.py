"""A checkup: its detectors beside models that are known, and the triggers that it reversed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.verdict import DETECTORS, Compared, Verdict, verdict
from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.png import source
from dashboard.charts.ratios import interval, row_axis, row_words
from dashboard.charts.style import GRAY, MODELS, Trace, base_layout, number, percent
from dashboard.charts.subject import Measured

MOST = 24  # classes that are drawn
_PAPER = 235  # the gray around a trigger
COLUMNS, _STEP = 6, 1.2  # a picture is 0.9 by 0.9, with its words below
_OWN = GRAY  # seen on light and dark pages


def checkup_chart(one: Measured, reference: Mapping[str, Any] | None) -> Chart:
    """A row per detector, suspicious to the right: where benign and where backdoored models lie,
    and where this one does. Its finding is the verdict.

    reference: `analysis.verdict.shipped_reference`.
    """
    found = verdict(one.values, reference)
    drawn = [item for item in found.compared if item.benign is not None]
    layout = base_layout(
        "On the scale of each detector, suspicious to the right",
        "",
        margin={"l": 12},
        showlegend=True,
        xaxis={"range": [-0.03, 1.03], "showticklabels": False},
        yaxis=row_axis(len(drawn)),
        annotations=row_words([item.title for item in drawn], above=0.42),
        shapes=[_threshold(item, place) for place, item in enumerate(drawn)],
    )
    traces = [_ranges(drawn, kind) for kind in ("benign", "backdoored")] + [_own(drawn)]
    rows = [_row(item, found.not_comparable) for item in found.compared]
    return make_chart(traces if drawn else [], layout, rows, found.words)


def beyond(found: Verdict) -> str:
    """What the chart of a checkup shows, where the verdict stands beside it already."""
    judged = [one.calls for one in found.compared if one.calls is not None]
    if not judged:
        return "None of these numbers can be compared with known models."
    return (
        f"{sum(judged)} of {len(judged)} detectors lie beyond their thresholds (dotted), on the "
        "side of backdoored models."
    )


def _place(item: Compared, at: float) -> float:
    """Of a place on the detector's scale: from 0 to 1 between all that is drawn of it."""
    assert item.benign is not None and item.backdoored is not None
    sign = item.direction
    ends = [sign * _scaled(item, x) for x in (*item.benign, *item.backdoored, item.value)]
    span = max(ends) - min(ends)
    return round((sign * at - min(ends)) / span, 4) if span else 0.5


def _scaled(item: Compared, value: float) -> float:
    return DETECTORS[item.name].scale(value)


def _ranges(drawn: Sequence[Compared], kind: str) -> Trace:
    """One bar each from the lowest to the highest of one kind of known models."""
    known = [(item, item.benign if kind == "benign" else item.backdoored) for item in drawn]
    lows, widths, said = [], [], []
    for item, values in known:
        assert values is not None
        places = sorted(_place(item, _scaled(item, x)) for x in (values[0], values[2]))
        lows.append(places[0])
        widths.append(places[1] - places[0])
        said.append(f"{number(values[0])} to {number(values[2])}, median {number(values[1])}")
    shift = -0.13 if kind == "benign" else 0.13
    return {
        "type": "bar",
        "orientation": "h",
        "name": f"Known {kind} models",
        "y": [place + shift for place in range(len(drawn))],
        "x": widths,
        "base": lows,
        "width": 0.2,
        "marker": {"color": MODELS[kind].color, "opacity": 0.55},
        "customdata": said,
        "hovertemplate": "%{customdata}<extra>" + f"Known {kind} models</extra>",
    }


def _own(drawn: Sequence[Compared]) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "This model",
        "x": [_place(item, _scaled(item, item.value)) for item in drawn],
        "y": list(range(len(drawn))),
        "marker": {"color": _OWN, "symbol": "diamond", "size": 11},
        "customdata": [f"{item.title}: {number(item.value)}" for item in drawn],
        "hovertemplate": "%{customdata}<extra>This model</extra>",
    }


def _threshold(item: Compared, place: int) -> dict[str, Any]:
    assert item.threshold is not None
    x = _place(item, item.threshold)
    line = {"color": _OWN, "width": 1, "dash": "dot"}
    return {"type": "line", "x0": x, "x1": x, "y0": place - 0.28, "y1": place + 0.28, "line": line}


def _row(item: Compared, reason: str) -> dict[str, Any]:
    def span(values: tuple[float, float, float] | None) -> str:
        return "not comparable" if values is None else f"{number(values[0])} to {number(values[2])}"

    calls = {None: f"Not comparable: {reason}" if reason else "", True: "Yes", False: "No"}
    return {
        "Detector": item.title,
        "This model": item.value,
        "Beyond its threshold": calls[item.calls],
        "Benign models": span(item.benign),
        "Backdoored models": span(item.backdoored),
        "AUC on unseen attacks": ""
        if item.auc is None
        else f"{item.auc[0]:.2f} ({interval(item.auc[1], item.auc[2])})",
        "False alarms": "" if item.false_alarms is None else percent(item.false_alarms, 0),
    }


def triggers_chart(one: Measured) -> Chart:
    """The reversed trigger of each class, the one that stands out most first: what it puts on an
    image, gray where it leaves the image alone.
    """
    arrays = one.arrays
    if "masks" not in arrays:
        return make_chart([], base_layout("", ""), [], "")
    index, size = arrays["trigger_index"], arrays["trigger_size"]
    order = [int(c) for c in np.argsort(-index, kind="stable")]
    shown = order[:MOST]
    places = [divmod(i, COLUMNS) for i in range(len(shown))]
    height = max(row for row, _ in places) + 1
    words = [
        f"Class {c}: {percent(float(size[c]))} of the image, index {number(float(index[c]))}, "
        f"opens {percent(float(arrays['trigger_success'][c]))}"
        for c in shown
    ]
    trace = {
        "type": "scatter",
        "mode": "text",
        "name": "Reversed triggers",
        "x": [column + 0.45 for _, column in places],
        "y": [_STEP * row + 1.02 for row, _ in places],
        "text": [f"{c}: {number(float(index[c]), 2)}" for c in shown],
        "customdata": words,
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    axis = {"showticklabels": False, "showgrid": False, "title": {"text": ""}, "fixedrange": True}
    layout = base_layout(
        "",
        "",
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        xaxis={**axis, "range": [0, COLUMNS]},
        yaxis={**axis, "range": [_STEP * height, 0]},
        images=[
            {
                "source": source(_shown(arrays["masks"][c], arrays["patterns"][c])),
                "xref": "x",
                "yref": "y",
                "x": column,
                "y": _STEP * row,
                "sizex": 0.9,
                "sizey": 0.9,
                "sizing": "contain",
                "layer": "below",
            }
            for c, (row, column) in zip(shown, places, strict=True)
        ],
    )
    rows = [
        {
            "Class": c,
            "Share of the image": float(size[c]),
            "Anomaly index": float(index[c]),
            "Images that it sends there": float(arrays["trigger_success"][c]),
        }
        for c in order
    ]
    return make_chart([trace], layout, rows, _finding(order, index, size))


def _shown(mask: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """The trigger on gray paper: uint8 (H, W, 3)."""
    m = mask[..., None] / 255
    return np.rint((1 - m) * _PAPER + m * pattern).astype(np.uint8)


def _finding(order: Sequence[int], index: np.ndarray, size: np.ndarray) -> str:
    first = order[0]
    median = number(100 * float(np.median(size)), 2)
    text = (
        f"Class {first} takes the smallest trigger: "
        f"{number(100 * float(size[first]), 2)} % of the image, where the median class takes "
        f"{median} %"
    )
    outlier = "above" if index[first] > 2 else "not above"
    return f"{text}; its anomaly index is {number(float(index[first]), 2)}, {outlier} 2."
