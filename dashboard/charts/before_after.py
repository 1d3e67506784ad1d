"""A rate before and after, model by model or group by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.compared import Entry, groups, mean_rate
from dashboard.charts.rates import Rate, percents
from dashboard.charts.style import GRAY, Mark, Trace, base_layout, escape, listed, percent

_FEW = 3  # rows that a sentence names one by one
_BELOW = 3.0  # points of room around the marks


@dataclass(frozen=True)
class Dot:
    """One row: shares before and after with 95 % intervals, None where they are not known.

    count: what the interval after is over, in words.
    """

    name: str
    mark: Mark
    before: float | None
    after: float | None
    low: float | None
    high: float | None
    count: str
    purified: bool


def dots(entries: Sequence[Entry], rate: Rate, *, means: bool) -> list[Dot]:
    """A row for each model, with the Wilson interval over its test images; or for each group, with
    the interval of its mean over seeds. What diverged has nothing after.
    """
    if means:
        found = [_of_group(name, own, rate) for name, own in groups(entries).items()]
    else:
        found = [_of_one(entry, rate) for own in groups(entries).values() for entry in own]
    return [dot for dot in found if dot.before is not None or dot.after is not None]


def _of_one(entry: Entry, rate: Rate) -> Dot:
    now = entry.after if entry.purified else entry.before
    low, high = now.get(f"{rate.key}_interval") or (None, None)
    images = now.get("n_clean" if rate.key == "ca" else "n_triggered")
    return Dot(
        entry.name,
        entry.mark,
        entry.before.get(rate.key),
        entry.after.get(rate.key),
        low,
        high,
        f"n = {images:,} images" if images else "",
        entry.purified,
    )


def _of_group(name: str, own: Sequence[Entry], rate: Rate) -> Dot:
    purified = any(entry.purified for entry in own)
    sound = [entry for entry in own if entry.diverged is None]
    before = mean_rate(sound or own, rate.key, "before")
    after = mean_rate(sound, rate.key, "after")
    shown = after if purified else before
    return Dot(
        name,
        own[0].mark,
        before.value if before else None,
        after.value if after else None,
        shown.low if shown else None,
        shown.high if shown else None,
        shown.count if shown else "",
        purified,
    )


def before_after_chart(found: Sequence[Dot], rate: Rate) -> Chart:
    """Hollow before, filled after, with the interval of what is there now."""
    places = range(len(found))
    traces = [
        _ways(found),
        {
            **_marks([(dot, dot.before) for dot in found], hollow=True),
            "name": "Before",
            "hovertemplate": "%{customdata}, before: %{x:.1f} %<extra></extra>",
        },
        {
            **_marks([(dot, dot.after) for dot in found], hollow=False),
            "name": "After",
            "hovertemplate": "%{customdata}, after: %{x:.1f} %<extra></extra>",
        },
    ]
    layout = base_layout(
        f"{rate.name} (%)",
        "",
        xaxis={"range": _range(found)},
        yaxis={
            "tickvals": list(places),
            "ticktext": [escape(dot.name) for dot in found],
            "range": [len(found) - 0.5, -0.5],
            "title": {"text": ""},
            "ticksuffix": "  ",
            "showgrid": False,
        },
    )
    rows = [
        {
            "Model": dot.name,
            f"{rate.short} before (%)": percents(dot.before),
            f"{rate.short} after (%)": percents(dot.after),
            "Interval from (%)": percents(dot.low),
            "Interval to (%)": percents(dot.high),
            "Of": dot.count,
        }
        for dot in found
    ]
    drawn = [trace for trace in traces if trace["x"]]
    return make_chart(drawn, layout, rows, _finding(found, rate))


def _range(found: Sequence[Dot]) -> list[float]:
    """What is to be seen, with room around: clean accuracies lie close together."""
    shares = [
        100 * share
        for dot in found
        for share in (dot.before, dot.after, dot.low, dot.high)
        if share is not None
    ]
    if not shares:
        return [0.0, 100.0]
    pad = max(0.06 * (max(shares) - min(shares)), 0.1 * _BELOW)
    return [round(min(shares) - pad, 3), round(max(shares) + pad, 3)]


def _ways(found: Sequence[Dot]) -> Trace:
    """A thin line from before to after, row by row."""
    x: list[float | None] = []
    y: list[float | None] = []
    for place, dot in enumerate(found):
        if dot.before is not None and dot.after is not None:
            x += [percents(dot.before), percents(dot.after), None]
            y += [place, place, None]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "From before to after",
        "x": x,
        "y": y,
        "line": {"color": GRAY, "width": 1, "dash": "dot"},
        "hoverinfo": "skip",
    }


def _marks(shown: Sequence[tuple[Dot, float | None]], *, hollow: bool) -> Trace:
    known = [(place, dot, share) for place, (dot, share) in enumerate(shown) if share is not None]
    trace: Trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [percents(share) for *_, share in known],
        "y": [place for place, *_ in known],
        "customdata": [escape(dot.name) for _, dot, _ in known],
        "marker": {
            "color": [dot.mark.color for _, dot, _ in known],
            "symbol": [dot.mark.symbol + "-open" * hollow for _, dot, _ in known],
            "size": 10,
            "line": {"width": 1.5 if hollow else 0},
        },
    }
    # the interval belongs to what is there now
    bars = [(dot, share) for _, dot, share in known if dot.purified != hollow]
    if any(dot.low is not None for dot, _ in bars):
        trace["error_x"] = {
            "type": "data",
            "symmetric": False,
            "array": [_arm(dot, dot.high, share, hollow) for _, dot, share in known],
            "arrayminus": [_arm(dot, dot.low, share, hollow) for _, dot, share in known],
            "thickness": 1.5,
            "width": 4,
            "color": GRAY,
        }
    return trace


def _arm(dot: Dot, end: float | None, share: float, hollow: bool) -> float:
    if end is None or dot.purified == hollow:
        return 0.0
    return round(100 * abs(end - share), 4)


# ---- in words


def _finding(found: Sequence[Dot], rate: Rate) -> str:
    name = rate.name.lower()
    purified = [dot for dot in found if dot.after is not None]
    if not purified:
        return f"Nothing here was purified; {name} as it is: {_ends(found, rate, now=False)}."
    if len(purified) <= _FEW:
        told = listed(
            [f"{_from(dot)}to {_told(dot, dot.after)} for {dot.name}" for dot in purified]
        )
        return f"The {name} went {told}."
    return f"The {name} after purification is {_ends(purified, rate, now=True)}."


def _from(dot: Dot) -> str:
    return "" if dot.before is None else f"from {percent(dot.before)} "


def _told(dot: Dot, share: float | None) -> str:
    """`0.1 % (95 % interval 0.0 to 0.4; n = 2,202 images)`"""
    text = "not known" if share is None else percent(share)
    told = "; ".join(filter(None, [interval_words(dot.low, dot.high), dot.count]))
    return f"{text} ({told})" if told else text


def interval_words(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return ""
    return f"95 % interval {100 * low:.1f} to {100 * high:.1f}"


def _ends(found: Sequence[Dot], rate: Rate, *, now: bool) -> str:
    """The lowest and the highest, each with its interval."""

    def share(dot: Dot) -> float:
        known = dot.after if now else dot.before
        return 0.0 if known is None else known

    low, high = (pick(found, key=share) for pick in (min, max))
    if len(found) == 1:
        return f"{_told(low, share(low))} for {low.name}"
    return (
        f"lowest for {low.name}, {_told(low, share(low))}, and highest for {high.name}, "
        f"{_told(high, share(high))}"
    )
