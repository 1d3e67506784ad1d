"""Numbers side by side, with their error bars: sharpness before and after, or layer by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis.measures import MEASURES
from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import Trace, base_layout, escape, listed, number, with_error
from dashboard.charts.subject import Measured, Subject

_SPAN = 100  # beyond this ratio of the largest to the smallest value the axis is logarithmic
_PATTERNS = ("", "/", ".", "x")


@dataclass(frozen=True)
class Bar:
    """One number of one model; the label says which."""

    subject: Subject
    label: str
    value: float
    error: float | None = None

    @property
    def words(self) -> str:
        return with_error(self.value, self.error)

    @property
    def end(self) -> float:
        """Where its error bar ends."""
        return self.value + (self.error or 0)


def bars_of_measure(found: Sequence[Measured], measure: str) -> list[Bar]:
    """One bar per model that has the measure."""
    about = MEASURES[measure]
    return bars_of_value(found, about.symbol, measure, about.error)


def bars_of_value(found: Sequence[Measured], label: str, value: str, error: str) -> list[Bar]:
    """One bar per model that has the value named `value`; `error` names its error bar."""
    return [
        Bar(item.subject, label, item.values[value], item.values.get(error))
        for item in found
        if item.values.get(value) is not None
    ]


def bars_of_layers(found: Sequence[Measured]) -> list[Bar]:
    """One bar per model and layer: the layer's share of a trace."""
    return [
        Bar(item.subject, str(layer), float(value), float(error))
        for item in found
        if "layer_trace" in item.arrays
        for layer, value, error in zip(
            *(item.arrays[key] for key in ("layers", "layer_trace", "layer_trace_stderr")),
            strict=True,
        )
    ]


def measure_bars(bars: Sequence[Bar]) -> Chart:
    """One bar each, grouped by label, in the color of the model."""
    subjects = list(dict.fromkeys(bar.subject for bar in bars))
    labels = list(dict.fromkeys(bar.label for bar in bars))
    single = len(labels) == 1
    traces = [
        _bars([bar for bar in bars if bar.subject == subject], single, _PATTERNS[i % 4])
        for i, subject in enumerate(subjects)
    ]
    rows = [
        {
            "Model": bar.subject.title,
            "Quantity": bar.label,
            "Value": bar.value,
            "Error": bar.error,
        }
        for bar in bars
    ]
    return make_chart(traces, _layout(bars, subjects, labels), rows, _finding(bars, labels))


def _bars(own: Sequence[Bar], single: bool, pattern: str) -> Trace:
    """The bars of one model, named by it where all have one label."""
    subject = own[0].subject
    name = escape(subject.title)
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "y": [name if single else escape(bar.label) for bar in own],
        "x": [bar.value for bar in own],
        "marker": {
            "color": subject.mark.color,
            "pattern": {
                "shape": pattern,
                "fillmode": "overlay",
                "fgcolor": "#FFFFFF",
                "fgopacity": 0.45,
                "solidity": 0.2,
            },
        },
        "error_x": {
            "type": "data",
            "array": [bar.error or 0 for bar in own],
            "thickness": 1.5,
            "width": 4,
            "visible": any(bar.error for bar in own),
        },
        "hovertemplate": f"%{{y}}: %{{x:.4g}}<extra>{name}</extra>",
    }


def _layout(
    bars: Sequence[Bar], subjects: Sequence[Subject], labels: Sequence[str]
) -> dict[str, Any]:
    single = len(labels) == 1
    logarithmic = _is_logarithmic([bar.value for bar in bars])
    order = [subject.title for subject in subjects] if single else labels
    layout = base_layout(
        labels[0] if single else "",
        "",
        barmode="group",
        bargap=0.32,
        showlegend=not single and len(subjects) > 1,
        right=64,
        yaxis={
            "categoryorder": "array",
            "categoryarray": [escape(word) for word in order],
            "autorange": "reversed",
            "ticksuffix": "  ",
            "title": {"text": ""},
        },
    )
    layout["xaxis"] |= (
        {"type": "log", "tickformat": "~g", "dtick": 1} if logarithmic else {"rangemode": "tozero"}
    )
    if single:  # the values beside the bars, clear of the error bars
        layout["annotations"] = [_value(bar, logarithmic) for bar in bars]
    return layout


def _is_logarithmic(values: Sequence[float]) -> bool:
    return bool(values) and min(values) > 0 and max(values) / min(values) > _SPAN


def _value(bar: Bar, logarithmic: bool) -> dict[str, Any]:
    return {
        "text": bar.words,
        "x": math.log10(bar.end) if logarithmic else bar.end,
        "y": escape(bar.subject.title),
        "xanchor": "left",
        "xshift": 6,
        "showarrow": False,
    }


def _finding(bars: Sequence[Bar], labels: Sequence[str]) -> str:
    if not bars:
        return ""
    if len(labels) > 1:
        return _largest(bars)
    if len(bars) == 1:
        return f"{labels[0]} of {bars[0].subject.phrase} is {bars[0].words}."
    values = listed([f"{bar.words} for {bar.subject.phrase}" for bar in bars])
    return f"{labels[0]} is {values}{_change(bars[-2], bars[-1], pair=len(bars) == 2)}."


def _largest(bars: Sequence[Bar]) -> str:
    """Which label is on top, model by model."""
    tops: dict[Subject, Bar] = {}
    for bar in bars:
        if bar.subject not in tops or bar.value > tops[bar.subject].value:
            tops[bar.subject] = bar
    found = list(tops.values())
    if len({top.label for top in found}) == 1:
        values = ", ".join(f"{top.words} for {top.subject.phrase}" for top in found)
        return f"The largest value is that of {found[0].label}: {values}."
    parts = [
        f"{top.label} has the largest value of {top.subject.phrase}, {top.words}" for top in found
    ]
    return "; ".join(parts) + "."


def _change(first: Bar, last: Bar, *, pair: bool) -> str:
    """How the last two compare; `pair`: whether they are the only ones."""
    low, high = sorted((first.value, last.value))
    if high - low <= (first.error or 0) + (last.error or 0):
        return f"; the difference {'' if pair else 'of the last two '}is within the error bars"
    if low <= 0:
        return ""
    times = high / low
    if times < 1.995:
        return f"{', ' if pair else '; the last two are '}{100 * (times - 1):.0f} % apart"
    how = f"{number(times, 2)} times {'smaller' if last.value < first.value else 'larger'}"
    return f", {how}" if pair else f"; the last is {how} than the one before"
