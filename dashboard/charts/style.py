"""One look for all charts: what each thing is drawn with, how numbers are written, layout.

A thing has one color and one marker shape, whatever the chart: each method, each kind of model,
each kind of images with the rate that is measured on them. Dashes and patterns are a second
channel. The colors keep a contrast of 3 on both backgrounds; those that meet on one chart stay
apart for the color-blind as well.

Figures name no color for text, grid or background: the page's theme gives them, light or dark. A
direct label is an annotation whose name is `label:<number of its trace>`;
`dashboard/components/live_chart` puts it beside the trace's last point and trades it for a legend
where the screen is narrow.
"""

from __future__ import annotations

import html
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ngf.catalogue import catalogue

Trace = dict[str, Any]  # as Plotly takes it


@dataclass(frozen=True)
class Mark:
    """How one thing is drawn. symbol: as Plotly calls it; glyph: the same shape in a text."""

    color: str
    symbol: str
    glyph: str
    dash: str = "solid"


METHODS = {
    "ngf": Mark("#0072B2", "diamond", "◆"),
    "sgd": Mark("#C48200", "cross", "✚"),
    "adam": Mark("#EE5C9D", "triangle-down", "▼"),
    "ngf_as_released": Mark("#1F9BD8", "pentagon", "⬟"),
    "fine_pruning": Mark("#6641DA", "hexagon", "⬢"),
}
MODELS = {
    "benign": Mark("#0E9B70", "star", "★"),
    "backdoored": Mark("#CC2014", "x", "✖"),
}
IMAGES = {  # the kinds of `analysis.image_kinds`
    "clean": Mark("#587C94", "circle", "●", "solid"),
    "triggered_target": Mark("#9141CF", "triangle-up", "▲", "dash"),
    "triggered_true": Mark("#757A12", "square", "■", "dot"),
    "train": Mark("#B23A6B", "triangle-left", "◀", "longdash"),
    "validation": Mark("#DE6A1A", "triangle-right", "▶", "dashdot"),
    "poisoned": Mark("#3F86F5", "hexagram", "✶", "longdashdot"),
}
SPARE = (  # for the defenses that nobody has listed above
    Mark("#835808", "hourglass", "⧗"),
    Mark("#27724A", "bowtie", "⧓"),
    Mark("#C0289F", "star-diamond", "✦"),
    Mark("#73567D", "star-square", "✸"),
    Mark("#A466FF", "star-triangle-down", "▽"),
)
# By place, for what has no color of its own, such as seeds: apart also for the color-blind, and
# their dashes begin anew one further on, so that no two of the first 25 look alike.
SERIES = ("#3C90FA", "#8A9300", "#067266", "#6738FE", "#A8482A")
GRAY = "#888888"  # what is not singled out, and lines that only help to read
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")  # by place among the lines of a chart


def lane_mark(lane: str) -> Mark:
    """The mark of a lane. A defense that is not listed has a spare one, the same on every chart."""
    return METHODS.get(lane) or SPARE[_spare(lane)]


def _spare(lane: str) -> int:
    """By the place in the catalogue, so that the defenses in it do not meet."""
    unlisted = [name for name in catalogue()["defenses"] if name not in METHODS]
    place = unlisted.index(lane) if lane in unlisted else zlib.crc32(lane.encode())
    return place % len(SPARE)


def lane_marks(lanes: Sequence[str]) -> dict[str, Mark]:
    """One mark per lane; two lanes of a chart share one only when there are more than marks.

    The second lane of a defense, and a defense that is not installed, take what is left.
    """
    marks: dict[str, Mark] = {}
    for lane in sorted(lanes, key=_comes_last):
        own = lane_mark(lane)
        start = SPARE.index(own) if own in SPARE else 0
        wanted = (own, *SPARE[start:], *SPARE[:start])
        marks[lane] = next((mark for mark in wanted if mark not in marks.values()), own)
    return {lane: marks[lane] for lane in lanes}


def _comes_last(lane: str) -> bool:
    return lane not in METHODS and lane not in catalogue()["defenses"]


def series_mark(place: int) -> Mark:
    """How the thing at this place of a list is drawn that is neither a method nor a model."""
    turn, i = divmod(place, len(SERIES))
    return Mark(SERIES[i], "circle", "●", DASHES[(i + turn) % len(DASHES)])


def percent(value: float, digits: int = 1) -> str:
    """A fraction in words: 0.9973 is `99.7 %`."""
    return _typeset(f"{100 * value:.{digits}f} %")


def signed(share: float) -> str:
    """`−1.2`: a change by a fraction, in percent or points; nothing stands before a zero."""
    text = _typeset(f"{100 * share:+.1f}")
    return "0.0" if text[1:] == "0.0" else text


def number(value: float, digits: int = 3) -> str:
    """Three significant digits, as a person writes them: 1,230 and 0.0123 and 4.5e−7."""
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
        return _typeset(f"{mantissa}e{int(exponent)}")
    rounded = float(f"{value:.{digits}g}")
    return _typeset(f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:g}")


def _typeset(text: str) -> str:
    """With a minus sign, which is as wide as a plus, for the hyphen of a program."""
    return text.replace("-", "−")


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
    size: int = 7,
    every: int = 1,
    **more: Any,
) -> Trace:
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
            "size": size,
            "maxdisplayed": 0 if every == 1 else max(2, len(x) // every),
        },
        **more,
    }


def band(
    x: Sequence[float], low: Sequence[float], high: Sequence[float], color: str, **more: Any
) -> Trace:
    """The ground between two curves, faint and out of the way of the pointer."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [*x, *reversed(x)],
        "y": [*high, *reversed(low)],
        "fill": "toself",
        "fillcolor": faint(color),
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
        **more,
    }


def direct_labels(
    traces: Sequence[Trace], texts: Mapping[int, tuple[str, str]]
) -> list[dict[str, str]]:
    """What stands beside the last points; `texts` gives (glyph, words) for the number of a trace.
    Where it stands depends on the width of the page, so the page finds that out.
    """
    return [
        {
            "name": f"label:{i}",
            "text": f'<span style="color:{traces[i]["line"]["color"]}">{glyph}</span> '
            f"{escape(words)}",
        }
        for i, (glyph, words) in texts.items()
        if traces[i]["y"]
    ]


def listed(words: Sequence[str], nothing: str = "") -> str:
    """`a, b and c`"""
    *first, last = words or [nothing]
    return f"{', '.join(first)} and {last}" if first else last


def upright(x: float, **about: Any) -> dict[str, Any]:
    """A dotted line over the whole height; `about` is how it is drawn where it is not gray."""
    return {
        "type": "line",
        "x0": x,
        "x1": x,
        "y0": 0,
        "y1": 1,
        "yref": "paper",
        "line": {"color": GRAY, "width": 1, "dash": "dot", **about},
    }
