"""What a sweep has found so far: any axis across, any measure up, others as colors and panels, and
the mean over the rest with its interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from dashboard.charts.axes import stack
from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.compared import t_interval
from dashboard.charts.style import Mark, Trace, base_layout, escape, number, series_mark

STAGES = ("model", "purification", "measurement")  # what an axis is of, in the order of a run
NONE = ""  # no axis: one color, one panel
MOST = 12  # panels, and colors: more than a reader tells apart
_DECADE = 10.0  # an axis of positive numbers that reaches further is logarithmic
_SPREAD = 0.5  # of the way to the next category, for the colors beside each other
_NUDGE = 0.02  # the same where x is a number, as a share of its axis
_ROOM = 0.05  # beyond what is drawn, as a share of it


@dataclass(frozen=True)
class Axis:
    """One axis of a sweep. values: as asked for; words: the same for readers; stage: of `STAGES`.

    marks: how its values are drawn as colors, where they have marks of their own.
    """

    title: str
    values: tuple[Any, ...]
    words: tuple[str, ...]
    stage: str
    marks: tuple[Mark, ...] = ()

    @property
    def numeric(self) -> bool:
        return len(self.values) > 1 and all(
            isinstance(value, int | float) and not isinstance(value, bool) for value in self.values
        )

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest value of an axis of numbers."""
        return min(self.values), max(self.values)

    @property
    def logarithmic(self) -> bool:
        return self.numeric and 0 < _DECADE * self.ends[0] <= self.ends[1]

    def mark(self, place: int) -> Mark:
        return self.marks[place] if self.marks else series_mark(place)


@dataclass(frozen=True)
class Quantity:
    """What is drawn up. share: whether it is a part of one, told in percent; least, most: its
    bounds, None where it has none.
    """

    title: str
    share: bool = False
    least: float | None = None
    most: float | None = None

    def words(self, value: float) -> str:
        text = f"{100 * value:.1f} %" if self.share else number(value)
        return text.replace("-", "−")

    def drawn(self, value: float) -> float:
        return round(100 * value, 3) if self.share else value


@dataclass(frozen=True)
class Point:
    """One result. at: its place on each axis, as the number of a value; run: whose it is."""

    at: Mapping[str, int]
    value: float
    run: str


@dataclass(frozen=True)
class Look:
    """Which axes are across, colors and panels, by name; `over`: those that the mean is over."""

    x: str
    color: str = NONE
    panel: str = NONE
    over: tuple[str, ...] = ()

    @property
    def shown(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(filter(None, (self.panel, self.color, self.x))))


@dataclass(frozen=True)
class Cell:
    """The mean of what shares panel, color and place across, with Student's interval over `n` of
    `unit`; none of a single one.
    """

    at: tuple[int, ...]  # on `Look.shown`
    mean: float
    low: float | None
    high: float | None
    n: int
    unit: str
    points: tuple[Point, ...]

    @property
    def count(self) -> str:
        """`n = 5 models`"""
        return f"n = {self.n} {self.unit}{'' if self.n == 1 else 's'}"


def sweep_chart(
    points: Sequence[Point], axes: Mapping[str, Axis], quantity: Quantity, look: Look
) -> Chart:
    """Means with 95 % t intervals, the single results behind them, one panel below the other.

    points: of one value of every axis that is neither shown nor in `look.over`.
    """
    found = cells(points, axes, quantity, look)
    panels = sorted({cell.at[0] for cell in found}) if look.panel else [0]
    panels = panels[:MOST]
    colors = sorted({_color(cell, look) for cell in found})[:MOST]
    drawn = [
        cell
        for cell in found
        if _color(cell, look) in colors and (not look.panel or cell.at[0] in panels)
    ]
    traces = [
        trace
        for row, panel in enumerate(panels, start=1)
        for color in colors
        for trace in _traces(
            [
                cell
                for cell in drawn
                if _color(cell, look) == color and (not look.panel or cell.at[0] == panel)
            ],
            _Series(axes, quantity, look, color, colors.index(color), len(colors), row),
        )
    ]
    _name_once(traces)
    layout = _layout(drawn, axes, quantity, look, panels, several=len(colors) > 1)
    rows = [_table_row(cell, axes, quantity, look) for cell in found]
    finding = sweep_finding(found, axes, quantity, look)
    return make_chart(traces, layout, rows, finding, f"{_alt(axes, quantity, look)} {finding}")


def cells(
    points: Sequence[Point], axes: Mapping[str, Axis], quantity: Quantity, look: Look
) -> list[Cell]:
    """The means, ordered by panel, color and place across."""
    groups: dict[tuple[int, ...], list[Point]] = {}
    for point in points:
        groups.setdefault(tuple(point.at[name] for name in look.shown), []).append(point)
    return [_cell(at, groups[at], axes, quantity, look) for at in sorted(groups)]


def _cell(
    at: tuple[int, ...],
    own: Sequence[Point],
    axes: Mapping[str, Axis],
    quantity: Quantity,
    look: Look,
) -> Cell:
    unit, values = _units(own, axes, look)
    low, high = t_interval(values)
    if low is not None and quantity.least is not None:
        low = max(low, quantity.least)
    if high is not None and quantity.most is not None:
        high = min(high, quantity.most)
    return Cell(at, fmean(values), low, high, len(values), unit, tuple(own))


def _units(own: Sequence[Point], axes: Mapping[str, Axis], look: Look) -> tuple[str, list[float]]:
    """What is independent among results: models, where they are of several, else purifications,
    else measurements; and one number for each, so that no model counts twice.
    """
    for stage in STAGES:
        over = [name for name in look.over if axes[name].stage == stage]
        by: dict[tuple[int, ...], list[float]] = {}
        for point in own:
            by.setdefault(tuple(point.at[name] for name in over), []).append(point.value)
        if len(by) > 1:
            return stage, [*map(fmean, by.values())]
    return "run", [fmean(point.value for point in own)]


def _color(cell: Cell, look: Look) -> int:
    return cell.at[look.shown.index(look.color)] if look.color else 0


def _across(cell: Cell, look: Look) -> int:
    return cell.at[look.shown.index(look.x)]


# ---- the figure


@dataclass(frozen=True)
class _Series:
    """The cells of one color in one panel. turn: which of how many colors; row: of the panel."""

    axes: Mapping[str, Axis]
    quantity: Quantity
    look: Look
    color: int
    turn: int
    turns: int
    row: int

    @property
    def name(self) -> str:
        axis = self.axes.get(self.look.color)
        return axis.words[self.color] if axis else self.quantity.title

    @property
    def mark(self) -> Mark:
        axis = self.axes.get(self.look.color)
        return axis.mark(self.color) if axis else series_mark(0)

    def x(self, place: int) -> float:
        """Where a value stands across: a number, or the place of a category. The colors stand a
        little beside each other, so that no interval hides another.
        """
        axis, beside = self.axes[self.look.x], 0.0
        if self.turns > 1 and self.look.color not in (self.look.x, self.look.panel):
            beside = self.turn / (self.turns - 1) - 0.5
        if not axis.numeric:
            return place + _SPREAD * beside
        value, low, high = (float(v) for v in (axis.values[place], *axis.ends))
        if axis.logarithmic:
            return value * (high / low) ** (_NUDGE * beside)
        return value + (high - low) * _NUDGE * beside


def _traces(own: Sequence[Cell], series: _Series) -> list[Trace]:
    if not own:
        return []
    axis, quantity, mark = series.axes[series.look.x], series.quantity, series.mark
    name, yaxis = escape(series.name), "y" if series.row == 1 else f"y{series.row}"
    shared = {"type": "scatter", "name": name, "legendgroup": name, "yaxis": yaxis}
    across = [series.x(_across(cell, series.look)) for cell in own]
    means = {
        **shared,
        "mode": "lines+markers" if axis.numeric else "markers",
        "x": across,
        "y": [quantity.drawn(cell.mean) for cell in own],
        "customdata": [_hover(cell, axis, series) for cell in own],
        "hovertemplate": f"%{{customdata}}<extra>{name}</extra>",
        "line": {"color": mark.color, "dash": mark.dash, "width": 2},
        "marker": {"color": mark.color, "symbol": mark.symbol, "size": 9},
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [_reach(cell.mean, cell.high, quantity) for cell in own],
            "arrayminus": [_reach(cell.low, cell.mean, quantity) for cell in own],
            "visible": any(cell.n > 1 for cell in own),
            "thickness": 1.5,
            "width": 4,
            "color": mark.color,
        },
    }
    single = [
        (x, point)
        for x, cell in zip(across, own, strict=True)
        if len(cell.points) > 1
        for point in cell.points
    ]
    if not single:
        return [means]
    each = {
        **shared,
        "mode": "markers",
        "x": [x for x, _ in single],
        "y": [quantity.drawn(point.value) for _, point in single],
        "customdata": [escape(point.run) for _, point in single],
        "hovertemplate": f"%{{customdata}}: %{{y:.4g}}<extra>{name}, one run</extra>",
        "marker": {"color": mark.color, "symbol": mark.symbol, "size": 5, "opacity": 0.35},
        "showlegend": False,
    }
    return [each, means]


def _name_once(traces: Iterable[Trace]) -> None:
    """Every color stands in the legend once, whichever panels it is in."""
    named: set[str] = set()
    for trace in traces:
        if trace.setdefault("showlegend", trace["name"] not in named):
            named.add(trace["name"])


def _reach(low: float | None, high: float | None, quantity: Quantity) -> float:
    """How far an interval goes to one side."""
    return 0.0 if low is None or high is None else quantity.drawn(high) - quantity.drawn(low)


def _hover(cell: Cell, axis: Axis, series: _Series) -> str:
    at = escape(f"{axis.title}: {axis.words[_across(cell, series.look)]}")
    return f"{at}<br>{series.quantity.title}: {_told(cell, series.quantity)}"


def _told(cell: Cell, quantity: Quantity) -> str:
    """`0.4 % (95 % interval 0.1 % to 0.7 %, n = 5 models)`"""
    if cell.low is None or cell.high is None:
        return f"{quantity.words(cell.mean)} (one {cell.unit}, no interval)"
    between = f"{quantity.words(cell.low)} to {quantity.words(cell.high)}"
    return f"{quantity.words(cell.mean)} (95 % interval {between}, {cell.count})"


def _layout(
    drawn: Sequence[Cell],
    axes: Mapping[str, Axis],
    quantity: Quantity,
    look: Look,
    panels: Sequence[int],
    *,
    several: bool,
) -> dict[str, Any]:
    across = axes[look.x]
    title = escape(f"{quantity.title} (%)" if quantity.share else quantity.title)
    layout = base_layout(
        escape(across.title),
        title,
        showlegend=several,
        xaxis=_ticks(across),
        margin={"t": 24 + 20 * several + 16 * (several and bool(look.panel))},
        legend={"yref": "container", "y": 1, "yanchor": "top"},
    )
    span = _range(drawn, quantity)
    stack(layout, [{"range": span, "title": {"text": title, "standoff": 8}} for _ in panels])
    if look.panel:
        axis = axes[look.panel]
        layout["annotations"] = [
            {
                "text": f"<b>{escape(axis.words[panel])}</b>",
                "name": "words",
                "xref": "paper",
                "x": 0.005,
                "yref": f"{'y' if row == 1 else f'y{row}'} domain",
                "y": 1,
                "xanchor": "left",
                "yanchor": "bottom",
                "showarrow": False,
            }
            for row, panel in enumerate(panels, start=1)
        ]
    return layout


def _ticks(axis: Axis) -> dict[str, Any]:
    """A mark at each value, as far as there is room for them."""
    if not axis.numeric:
        return {
            "tickvals": list(range(len(axis.words))),
            "ticktext": [escape(word) for word in axis.words],
            "range": [-0.6, len(axis.words) - 0.4],
        }
    few = {"tickvals": list(axis.values), "ticktext": list(axis.words)}
    return ({"type": "log"} if axis.logarithmic else {}) | (
        few if len(axis.values) <= MOST else {"tickformat": "~g"}
    )


def _range(drawn: Sequence[Cell], quantity: Quantity) -> list[float]:
    """From the lowest to the highest that is drawn, the same for all panels."""
    ends = [
        quantity.drawn(value)
        for cell in drawn
        for value in (cell.low, cell.high, cell.mean, *(point.value for point in cell.points))
        if value is not None and math.isfinite(value)
    ] or [0.0, 1.0]
    low, high = min(ends), max(ends)
    room = _ROOM * ((high - low) or abs(high) or 1.0)
    return [low - room, high + room]


# ---- in words


def sweep_finding(
    found: Sequence[Cell], axes: Mapping[str, Axis], quantity: Quantity, look: Look
) -> str:
    """Where the mean is lowest and where highest, and whether their intervals are apart."""
    if not found:
        return ""
    low, high = (pick(found, key=lambda cell: cell.mean) for pick in (min, max))
    if len(found) == 1:
        return f"{quantity.title} is {_told(low, quantity)} for {_where(low, axes, look)}."
    if low.mean == high.mean:
        return f"{quantity.title} is {quantity.words(low.mean)} in all {len(found)} means."
    said = (
        f"{quantity.title} is lowest for {_where(low, axes, look)}, {_told(low, quantity)}, and "
        f"highest for {_where(high, axes, look)}, {_told(high, quantity)}"
    )
    if low.high is None or high.low is None:
        return f"{said}: without two intervals nothing more can be said of them."
    apart = low.high < high.low
    return f"{said}; the two intervals {'are apart' if apart else 'overlap'}."


def _where(cell: Cell, axes: Mapping[str, Axis], look: Look) -> str:
    """`Attack BadNets, Defense NGF, Trust region 0.1`"""
    return ", ".join(
        f"{axes[name].title} {axes[name].words[place]}"
        for name, place in zip(look.shown, cell.at, strict=True)
    )


def _alt(axes: Mapping[str, Axis], quantity: Quantity, look: Look) -> str:
    more = [
        f"a {what} for each value of {axes[name].title}"
        for what, name in (("color", look.color), ("panel", look.panel))
        if name
    ]
    return f"{', '.join([f'{quantity.title} by {axes[look.x].title}', *more])}."


def _table_row(
    cell: Cell, axes: Mapping[str, Axis], quantity: Quantity, look: Look
) -> dict[str, Any]:
    unit = " (%)" if quantity.share else ""
    ends = {"from": cell.low, "to": cell.high}
    return {
        **{
            axes[name].title: axes[name].words[place]
            for name, place in zip(look.shown, cell.at, strict=True)
        },
        f"{quantity.title}{unit}": quantity.drawn(cell.mean),
        **{
            f"95 % interval {word}{unit}": None if end is None else quantity.drawn(end)
            for word, end in ends.items()
        },
        "n": cell.n,
        "n of": f"{cell.unit}s",
    }


def left_out(points: Iterable[Point], look: Look) -> str:
    """What a chart has no room for; the table has it all."""
    points = list(points)
    said = [
        f"the first {MOST} of {len(values):,} {what}"
        for what, name in (("panels", look.panel), ("colors", look.color))
        if name and len(values := {point.at[name] for point in points}) > MOST
    ]
    return f"Drawn are {' and '.join(said)}; the table has all of them." if said else ""
