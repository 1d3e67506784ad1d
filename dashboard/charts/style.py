"""One look for all charts: colors that the color-blind can tell apart (Okabe and Ito), dashes,
markers, layout.

Figures name no color for text, grid or background: the page's theme gives them, light or dark. A
direct label is an annotation whose name is `label:<number of its trace>`;
`dashboard/components/live_chart` keeps it beside the trace's last point and trades it for a legend
where the screen is narrow.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BLUE, VERMILION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PINK, GRAY = "#56B4E9", "#CC79A7", "#888888"
LANES = {"ngf": BLUE, "sgd": ORANGE, "adam": PINK, "released": SKY}
LANE_NAMES = {"ngf": "NGF", "sgd": "SGD", "adam": "Adam"}
_SPARE = (PINK, SKY, GREEN, VERMILION, GRAY)
_MODELS = {"backdoored": VERMILION, "benign": BLUE, "purified": GREEN, "after": GREEN}


@dataclass(frozen=True)
class Rate:
    """How one of the three rates is named and drawn, on every chart."""

    key: str
    name: str
    short: str
    color: str
    dash: str
    symbol: str
    glyph: str


RATES = (
    Rate("ca", "Clean accuracy", "CA", BLUE, "solid", "circle", "●"),
    Rate("asr", "Attack success rate", "ASR", VERMILION, "dash", "triangle-up", "▲"),
    Rate("ra", "Robust accuracy", "RA", GREEN, "dot", "square", "■"),
)


def lane_title(lane: str) -> str:
    """Readable name of a lane: `sgd-2` is `SGD (2)`, `ft_sam` is `FT SAM`."""
    name, _, number = lane.rpartition("-")
    if name and number.isdigit():
        return f"{lane_title(name)} ({number})"
    words = lane.replace("_", " ")
    return LANE_NAMES.get(lane) or (words.upper() if len(words) <= 6 else words.capitalize())


def lane_colors(lanes: Sequence[str]) -> dict[str, str]:
    """One color a lane; a second lane of a kind and unknown kinds take what is left."""
    known = {lane: LANES.get("released" if "released" in lane else lane) for lane in lanes}
    colors = {lane: color for lane, color in known.items() if color}
    for lane, color in known.items():
        if not color:
            spare = [color for color in (*_SPARE, ORANGE, BLUE) if color not in colors.values()]
            colors[lane] = spare[0] if spare else GRAY
    return {lane: colors[lane] for lane in known}


def model_colors(names: Sequence[str]) -> dict[str, str]:
    """Backdoored vermilion, benign blue, purified green; a second purified model takes its
    lane's color.
    """
    colors: dict[str, str] = {}
    for name in dict.fromkeys(names):
        words = name.lower()
        lane = next((color for key, color in LANES.items() if key in words.split()), None)
        wanted = [color for key, color in _MODELS.items() if key in words] + (
            [lane] if lane else []
        )
        free = [color for color in (*wanted, *_SPARE, ORANGE, BLUE) if color not in colors.values()]
        colors[name] = free[0] if free else GRAY
    return colors


def the_model(name: str) -> str:
    """A model's name inside a sentence: `Backdoored` is `the backdoored model`."""
    first, *rest = name.split()
    word = first.lower()
    if word == "after" and rest:
        return f"the model after {' '.join(rest)}"
    if word not in _MODELS:
        return name
    return " ".join(["the", word, "model", *rest])


def without_parenthesis(title: str) -> str:
    """What people call it: `NGF (natural gradient)` is `NGF`."""
    return title.split(" (")[0]


def percent(value: float, digits: int = 1) -> str:
    """A fraction in words: 0.9973 is `99.7 %`."""
    return f"{100 * value:.{digits}f} %"


def number(value: float, digits: int = 3) -> str:
    """Three significant digits, as a person writes them: 1,230 and 0.0123 and 4.5e-7."""
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
        return f"{mantissa}e{int(exponent)}"
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:g}"


def with_error(value: float, error: float | None, digits: int = 3) -> str:
    """`11.1 ± 0.065`; an error far below the last digit shown is left out."""
    if not error:
        return number(value, digits)
    last = 0.5 * 10.0 ** (math.floor(math.log10(abs(value))) - digits + 1) if value else 0.0
    if error < last / 10 and abs(value) < 1e6:
        return number(value, digits)
    return f"{number(value, digits)} ± {number(error, 2)}"


def faint(color: str, opacity: float = 0.16) -> str:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def escape(text: str) -> str:
    """Text from outside, made harmless: Plotly reads a part of HTML in names and labels."""
    return html.escape(str(text), quote=False)


def base_layout(x: str, y: str, *, right: int = 24, **more: Any) -> dict[str, Any]:
    """Layout that all charts share: axis titles, margins (pixels), hover, legend."""
    layout: dict[str, Any] = {
        "margin": {"l": 56, "r": right, "t": 14, "b": 46},
        "showlegend": False,
        "hovermode": "closest",
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "xaxis": {"title": {"text": x, "standoff": 8}, "zeroline": False, "automargin": True},
        "yaxis": {"title": {"text": y, "standoff": 8}, "zeroline": False, "automargin": True},
    }
    for key, value in more.items():
        layout[key] = {**layout[key], **value} if isinstance(layout.get(key), Mapping) else value
    return layout


def line(
    name: str,
    x: Sequence[Any],
    y: Sequence[Any],
    color: str,
    *,
    dash: str = "solid",
    symbol: str = "circle",
    every: int = 1,
    **more: Any,
) -> dict[str, Any]:
    """A line with a marker at each `every`-th point."""
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": escape(name),
        "x": list(x),
        "y": list(y),
        "line": {"color": color, "dash": dash, "width": 2.5},
        "marker": {
            "color": color,
            "symbol": symbol,
            "size": 7,
            "maxdisplayed": 0 if every == 1 else max(2, len(x) // every),
        },
        **more,
    }


def spread(values: Sequence[float], step: float, high: float) -> list[float]:
    """Ascending `values` moved as little as needed to be `step` apart and not above `high`."""
    places: list[float] = []
    for value in values:
        places.append(value if not places else max(value, places[-1] + step))
    limit = high
    for i in reversed(range(len(places))):
        places[i] = min(places[i], limit)
        limit = places[i] - step
    return places


def direct_labels(
    traces: Sequence[Mapping[str, Any]],
    texts: Mapping[int, tuple[str, str]],
    *,
    low: float,
    high: float,
    gap: float = 0.06,
) -> list[dict[str, Any]]:
    """Labels right of the last points, pushed apart where they would overlap.

    `texts` gives (glyph, words) for the number of a trace; `low` and `high` are the ends of the y
    axis, `gap` is the room of one label as a share of its height.
    """
    numbers = sorted((i for i in texts if traces[i]["y"]), key=lambda i: traces[i]["y"][-1])
    places = spread([traces[i]["y"][-1] for i in numbers], gap * (high - low), high)
    return [
        {
            "name": f"label:{i}",
            "x": traces[i]["x"][-1],
            "xanchor": "left",
            "xshift": 8,
            "y": round(y, 3),
            "yref": traces[i].get("yaxis", "y"),
            "yanchor": "middle",
            "showarrow": False,
            "align": "left",
            "text": f'<span style="color:{traces[i]["line"]["color"]}">{texts[i][0]}</span> '
            f"{escape(texts[i][1])}",
        }
        for i, y in zip(numbers, places, strict=True)
    ]
