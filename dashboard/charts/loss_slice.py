"""The loss along a line through the weights: a walk away from a model, or from one model to
another.
"""

from __future__ import annotations

from typing import Any

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import (
    BLUE,
    GREEN,
    ORANGE,
    PINK,
    SKY,
    VERMILION,
    base_layout,
    escape,
    faint,
    line,
    model_colors,
    number,
    the_model,
)

_DASHES = {
    "clean": "solid",
    "true": "dot",
    "target": "dash",
    "mix": "longdashdot",
    "training": "longdash",
    "validation": "dashdot",
}
_IMAGES = {
    "solid": BLUE,
    "dash": VERMILION,
    "dot": ORANGE,
    "longdashdot": PINK,
    "longdash": GREEN,
    "dashdot": SKY,
}


def slice_chart(series: list[dict[str, Any]]) -> Chart:
    """`series`: dicts {name, data, distance, mean, low, high}; the band runs from `low` to `high`.

    The model gives the color and the images the dash. Series named after their images are the line
    from one model (distance 0) to another (distance 1).
    """
    series = [item for item in series if len(item["distance"])]
    between = bool(series) and all(item["name"] == item["data"] for item in series)
    models = model_colors([item["name"] for item in series])
    several = len({item["data"] for item in series}) > 1
    traces = []
    for item in series:
        dash = _dash(item["data"])
        color = _IMAGES[dash] if between else models[item["name"]]
        name = item["name"] if between or not several else f"{item['name']}, {item['data']}"
        x, mean, low, high = (
            [float(value) for value in item[key]] for key in ("distance", "mean", "low", "high")
        )
        if high != low:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "x": x + x[::-1],
                    "y": high + low[::-1],
                    "fill": "toself",
                    "fillcolor": faint(color),
                    "line": {"width": 0, "color": color},
                    "hoverinfo": "skip",
                    "showlegend": False,
                    "name": f"{escape(name)}, band",
                }
            )
        traces.append(
            line(
                name,
                x,
                mean,
                color,
                dash=dash,
                symbol={"dash": "triangle-up", "dot": "square"}.get(dash, "circle"),
                hovertemplate=f"loss %{{y:.3g}} at %{{x:.3g}}<extra>{escape(name)}</extra>",
                **({"marker": {"size": 5, "color": color}} if len(x) > 11 else {}),
            )
        )
    layout = base_layout(
        "Backdoored model = 0, purified model = 1" if between else "Distance from the weights",
        "Loss",
        showlegend=len(series) > 1,
        yaxis={"rangemode": "tozero"},
    )
    if between:
        layout["shapes"] = [
            {
                "type": "line",
                "x0": x,
                "x1": x,
                "y0": 0,
                "y1": 1,
                "yref": "paper",
                "line": {"color": "#888888", "width": 1, "dash": "dot"},
            }
            for x in (0, 1)
        ]
    rows = [
        {
            "Model": item["name"],
            "Images": item["data"],
            "Distance": x,
            "Loss": mean,
            "Lowest": low,
            "Highest": high,
        }
        for item in series
        for x, mean, low, high in zip(
            *(item[key] for key in ("distance", "mean", "low", "high")), strict=True
        )
    ]
    return make_chart(traces, layout, rows, _between(series) if between else _around(series))


def _dash(data: str) -> str:
    return next((dash for word, dash in _DASHES.items() if word in data.lower()), "solid")


def _around(series: list[dict[str, Any]]) -> str:
    """How much the mean loss rises from the center to the far ends."""
    parts = []
    for item in series:
        center = min(range(len(item["distance"])), key=lambda i: abs(item["distance"][i]))
        reach = max(abs(x) for x in item["distance"])
        ends = [
            y
            for x, y in zip(item["distance"], item["mean"], strict=True)
            if abs(x) >= 0.999 * reach
        ]
        rise = sum(ends) / len(ends) - item["mean"][center]
        parts.append((the_model(item["name"]), item["mean"][center], rise, reach))
    if not parts:
        return ""
    words = [
        f"{'the loss of ' if i == 0 else ''}{name} {'rises' if rise >= 0 else 'falls'} by "
        f"{number(abs(rise))} (from {number(start)})"
        for i, (name, start, rise, _) in enumerate(parts)
    ]
    return f"At distance {number(parts[0][3])}, " + " and that of ".join(words) + "."


def _between(series: list[dict[str, Any]]) -> str:
    """Loss at both ends of the line, and the hill between them."""
    parts = []
    for item in series:
        at = dict(zip(item["distance"], item["mean"], strict=True))
        ends = [min(at, key=lambda x, end=end: abs(x - end)) for end in (0, 1)]
        top = max(y for x, y in at.items() if ends[0] <= x <= ends[1])
        hill = top - max(at[ends[0]], at[ends[1]])
        images = item["data"].lower().replace(", as", " as").replace(", ", " with ")
        words = f"on {images} the loss goes from {number(at[ends[0]])} to {number(at[ends[1]])}"
        parts.append(
            words
            + (f" over a hill of {number(hill)}" if hill > 0.01 * (1 + top) else " without a hill")
        )
    text = "; ".join(parts) + "."
    return text[0].upper() + text[1:] if parts else ""
