"""Numbers side by side, with their error bars: sharpness before and after, or layer by layer."""

from __future__ import annotations

import math
from typing import Any

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import base_layout, escape, model_colors, number, the_model, with_error

_SPAN = 100  # beyond this ratio of the largest to the smallest value the axis is logarithmic
_PATTERNS = ("", "/", ".", "x")


def measure_bars(series: list[dict[str, Any]]) -> Chart:
    """`series`: dicts {name, label, value, error}: one bar each, grouped by label, one color
    a name.
    """
    series = [item for item in series if item.get("value") is not None]
    names = list(dict.fromkeys(item["name"] for item in series))
    labels = list(dict.fromkeys(item["label"] for item in series))
    colors = model_colors(names)
    values = [item["value"] for item in series]
    logarithmic = bool(values) and min(values) > 0 and max(values) / min(values) > _SPAN
    single = len(labels) == 1
    traces = []
    for i, name in enumerate(names):
        own = [item for item in series if item["name"] == name]
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": escape(name),
                "y": [escape(name if single else item["label"]) for item in own],
                "x": [item["value"] for item in own],
                "marker": {
                    "color": colors[name],
                    "pattern": {
                        "shape": _PATTERNS[i % 4],
                        "fillmode": "overlay",
                        "fgcolor": "#FFFFFF",
                        "fgopacity": 0.45,
                        "solidity": 0.2,
                    },
                },
                "error_x": {
                    "type": "data",
                    "array": [item.get("error") or 0 for item in own],
                    "thickness": 1.5,
                    "width": 4,
                    "visible": any(item.get("error") for item in own),
                },
                "hovertemplate": f"%{{y}}: %{{x:.4g}}<extra>{escape(name)}</extra>",
            }
        )
    order = [escape(word) for word in (names if single else labels)]
    layout = base_layout(
        labels[0] if single else "",
        "",
        barmode="group",
        bargap=0.32,
        showlegend=not single and len(names) > 1,
        right=64,
        yaxis={
            "categoryorder": "array",
            "categoryarray": order,
            "autorange": "reversed",
            "ticksuffix": "  ",
            "title": {"text": ""},
        },
    )
    layout["xaxis"] |= (
        {"type": "log", "tickformat": "~g", "dtick": 1} if logarithmic else {"rangemode": "tozero"}
    )
    if single:  # the values beside the bars, clear of the error bars
        layout["annotations"] = [_value(item, logarithmic) for item in series]
    rows = [
        {
            "Model": item["name"],
            "Quantity": item["label"],
            "Value": item["value"],
            "Error": item.get("error"),
        }
        for item in series
    ]
    return make_chart(traces, layout, rows, _finding(series, labels))


def _value(item: dict[str, Any], logarithmic: bool) -> dict[str, Any]:
    end = item["value"] + (item.get("error") or 0)
    if logarithmic:
        end = math.log10(end)
    return {
        "text": _words(item),
        "x": end,
        "y": escape(item["name"]),
        "xanchor": "left",
        "xshift": 6,
        "showarrow": False,
    }


def _words(item: dict[str, Any]) -> str:
    return with_error(item["value"], item.get("error"))


def _finding(series: list[dict[str, Any]], labels: list[str]) -> str:
    if not series:
        return ""
    if len(labels) > 1:
        tops = [
            max((item for item in series if item["name"] == name), key=lambda item: item["value"])
            for name in dict.fromkeys(item["name"] for item in series)
        ]
        if len({top["label"] for top in tops}) == 1:
            values = ", ".join(f"{_words(top)} for {the_model(top['name'])}" for top in tops)
            return f"The largest value is that of {tops[0]['label']}: {values}."
        return (
            "; ".join(
                f"{top['label']} has the largest value of {the_model(top['name'])}, {_words(top)}"
                for top in tops
            )
            + "."
        )
    label = labels[0]
    if len(series) == 1:
        return f"{label} of {the_model(series[0]['name'])} is {_words(series[0])}."
    *_, first, last = series
    text = f"{label} is " + ", ".join(
        f"{_words(item)} for {the_model(item['name'])}" for item in series[:-1]
    )
    text += f" and {_words(last)} for {the_model(last['name'])}"
    gap, noise = (
        abs(first["value"] - last["value"]),
        (first.get("error") or 0) + (last.get("error") or 0),
    )
    pair = len(series) == 2
    if gap <= noise:
        return (
            f"{text}; the difference {'' if pair else 'of the last two '}is within the error bars."
        )
    if min(first["value"], last["value"]) <= 0:
        return text + "."
    times = max(first["value"], last["value"]) / min(first["value"], last["value"])
    if times < 1.995:
        return f"{text}{', ' if pair else '; the last two are '}{100 * (times - 1):.0f} % apart."
    how = f"{number(times, 2)} times {'smaller' if last['value'] < first['value'] else 'larger'}"
    return f"{text}, {how}." if pair else f"{text}; the last is {how} than the one before."
