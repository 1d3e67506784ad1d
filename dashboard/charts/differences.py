"""Two ways to purify, compared on the same models with the same seeds: the difference of each
pair, and their mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.compared import Entry, Mean, mean_of, rate_of
from dashboard.charts.rates import RATES, Rate
from dashboard.charts.style import GRAY, Trace, base_layout, escape, signed, upright

DRAWN = (RATES[1], RATES[0])  # attack success rate, clean accuracy
MODEL_FIELDS = ("attack", "data", "network", "model_seed")  # two values of these share no model
Key = tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """What two values of a field made of one model with one seed.

    differences: second minus first at the end, by rate; without those that are not known.
    """

    first: tuple[Entry, ...]
    second: tuple[Entry, ...]
    differences: Mapping[str, float]

    @property
    def name(self) -> str:
        entry = self.first[0]
        return (
            f"{entry.fields['attack'].words}, model seed {entry.fields['model_seed'].words}, "
            + (f"seed {entry.seed}")
        )


@dataclass(frozen=True)
class Paired:
    """Pairs of two values of a field, and who is left out for want of a partner or of a model."""

    field: str
    first: str
    second: str
    pairs: tuple[Pair, ...]
    alone: tuple[Entry, ...]
    diverged: tuple[Entry, ...]

    def mean(self, rate: Rate) -> Mean | None:
        """The mean difference in a rate, over models or over seeds."""
        known = [
            (pair.first[0], pair.differences[rate.key])
            for pair in self.pairs
            if rate.key in pair.differences
        ]
        return mean_of(known, least=-1.0, most=1.0)


def pair_up(entries: Sequence[Entry], field: str, first: str, second: str) -> Paired:
    """Pair purifications that share model, seed and all but one field: the method stays the same
    unless it is what is compared. Several of one kind are averaged within a pair.

    first, second: keys of values of the field.
    """
    sides: tuple[dict[Key, list[Entry]], dict[Key, list[Entry]]] = ({}, {})
    diverged = []
    for entry in entries:
        key = entry.fields[field].key
        if key not in (first, second) or not entry.purified:
            continue
        if entry.diverged is not None:
            diverged.append(entry)
            continue
        sides[key == second].setdefault(_shared(entry, field), []).append(entry)
    both = [key for key in sides[0] if key in sides[1]]
    pairs = [_pair(sides[0][key], sides[1][key]) for key in both]
    alone = [entry for side in sides for key, of in side.items() if key not in both for entry in of]
    return Paired(
        field,
        _words(entries, field, first),
        _words(entries, field, second),
        tuple(pairs),
        tuple(alone),
        tuple(diverged),
    )


def _shared(entry: Entry, field: str) -> Key:
    method = () if field == "method" else (entry.fields["method"].key,)
    return (entry.model, str(entry.seed), *method)


def _words(entries: Sequence[Entry], field: str, key: str) -> str:
    return next(
        (entry.fields[field].words for entry in entries if entry.fields[field].key == key), key
    )


def _pair(first: Sequence[Entry], second: Sequence[Entry]) -> Pair:
    found: dict[str, float] = {}
    for rate in DRAWN:
        ends = [
            [value for _, value in rate_of(side, rate.key, "after")] for side in (first, second)
        ]
        if all(ends):
            found[rate.key] = fmean(ends[1]) - fmean(ends[0])
    return Pair(tuple(first), tuple(second), found)


def differences_chart(paired: Paired) -> Chart:
    """A row for each rate: a small mark for each pair, a large one at the mean with its
    interval.
    """
    shown = [(rate, mean) for rate in DRAWN if (mean := paired.mean(rate)) is not None]
    traces: list[Trace] = []
    for place, (rate, mean) in enumerate(shown):
        traces += [_each(paired, rate, place), _mean(rate, mean, place)]
    layout = base_layout(
        f"{escape(paired.second)} minus {escape(paired.first)} (points)",
        "",
        shapes=[upright(0.0)],
        xaxis={"rangemode": "tozero"},
        yaxis={
            "tickvals": list(range(len(shown))),
            "ticktext": [rate.name for rate, _ in shown],
            "range": [len(shown) - 0.5, -0.5],
            "title": {"text": ""},
            "ticksuffix": "  ",
            "showgrid": False,
        },
    )
    rows = [_row(paired, pair) for pair in paired.pairs]
    finding = " ".join([*(_said(paired, rate, mean) for rate, mean in shown), left_out(paired)])
    return make_chart(traces, layout, rows, finding.strip())


def _row(paired: Paired, pair: Pair) -> dict[str, Any]:
    row: dict[str, Any] = {
        "Pair": pair.name,
        paired.first: ", ".join(entry.target for entry in pair.first),
        paired.second: ", ".join(entry.target for entry in pair.second),
    }
    for rate in DRAWN:
        found = pair.differences.get(rate.key)
        row[f"{rate.short}: second minus first (points)"] = (
            None if found is None else round(100 * found, 3)
        )
    return row


def _each(paired: Paired, rate: Rate, place: int) -> Trace:
    known = [pair for pair in paired.pairs if rate.key in pair.differences]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"{rate.name}, each pair",
        "x": [round(100 * pair.differences[rate.key], 3) for pair in known],
        "y": [place + 0.18] * len(known),
        "customdata": [escape(pair.name) for pair in known],
        "marker": {"color": rate.mark.color, "symbol": rate.mark.symbol, "size": 6, "opacity": 0.5},
        "hovertemplate": "%{customdata}: %{x:+.2f} points<extra></extra>",
    }


def _mean(rate: Rate, mean: Mean, place: int) -> Trace:
    trace: Trace = {
        "type": "scatter",
        "mode": "markers",
        "name": f"{rate.name}, mean",
        "x": [round(100 * mean.value, 3)],
        "y": [place],
        "marker": {"color": rate.mark.color, "symbol": rate.mark.symbol, "size": 12},
        "hovertemplate": f"mean, {mean.count}: %{{x:+.2f}} points<extra></extra>",
    }
    if mean.low is not None and mean.high is not None:
        trace["error_x"] = {
            "type": "data",
            "symmetric": False,
            "array": [round(100 * (mean.high - mean.value), 4)],
            "arrayminus": [round(100 * (mean.value - mean.low), 4)],
            "thickness": 2,
            "width": 6,
            "color": GRAY,
        }
    return trace


# ---- in words


def _said(paired: Paired, rate: Rate, mean: Mean) -> str:
    """What one rate shows, and whether that can be chance."""
    what = (
        f"{rate.name} at the end, {paired.second} minus {paired.first}: {signed(mean.value)} points"
    )
    count = f"{_pairs(mean.lanes)}; {mean.count}"
    if mean.low is None or mean.high is None:
        return (
            f"{what} ({count}). A mean over one {mean.unit} has no interval: this says nothing of "
            "others."
        )
    verdict = (
        "the interval holds zero, so the two cannot be told apart"
        if mean.low <= 0 <= mean.high
        else f"the interval does not hold zero, so {_which(paired, rate, mean.value)}"
    )
    return f"{what} (95 % interval {signed(mean.low)} to {signed(mean.high)}; {count}): {verdict}."


def _which(paired: Paired, rate: Rate, value: float) -> str:
    if rate.key == "asr":
        lower = paired.second if value < 0 else paired.first
        return f"{lower} leaves less of the attack"
    higher = paired.second if value > 0 else paired.first
    return f"{higher} keeps more clean accuracy"


def _pairs(count: int) -> str:
    return "1 pair" if count == 1 else f"{count} pairs"


def left_out(paired: Paired) -> str:
    """Who has no partner, and who has no model; empty where nobody."""
    said = []
    if paired.alone:
        said.append(f"Left out without a partner: {_named(paired.alone)}.")
    if paired.diverged:
        said.append(f"Left out because they diverged: {_named(paired.diverged)}.")
    return " ".join(said)


def _named(entries: Sequence[Entry]) -> str:
    few = [entry.name for entry in entries[:6]]
    more = len(entries) - len(few)
    return f"{len(entries)} ({'; '.join(few)}{f' and {more} more' if more else ''})"
