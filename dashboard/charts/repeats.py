"""The same race with several purification seeds: how far its curves spread."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.race import last_step, step_title, steps_of
from dashboard.charts.rates import AXIS, RATES, SHARE, Event, Rate, rate_columns
from dashboard.charts.style import (
    Trace,
    band,
    base_layout,
    direct_labels,
    lane_marks,
    line,
    percent,
)
from dashboard.charts.titles import lane_title
from ngf.config import PurifySpec

_DRAWN = RATES[:2]  # a third band per lane would hide the others
_POINTS = 101  # of a curve: the runs are measured at different steps


@dataclass(frozen=True)
class Repeat:
    """One finished run of a race. lanes: what its result says of each lane."""

    spec: PurifySpec
    events: Sequence[Event]
    lanes: Mapping[str, Mapping[str, Any]]


def repeats_chart(repeats: Sequence[Repeat]) -> Chart:
    """Mean of each rate over the repeats, in the band from the lowest to the highest.

    repeats: one at least, of specifications that differ in their seed alone.
    """
    lanes = repeats[0].spec.lane_names()
    marks = lane_marks(list(lanes))
    all_steps = [steps_of(one.spec, one.events) for one in repeats]
    grid = np.linspace(0, max(last_step(steps) for steps in all_steps), _POINTS)
    traces: list[Trace] = []
    texts: dict[int, tuple[str, str]] = {}
    for lane in lanes:
        for rate in _DRAWN:
            curves = [found for steps in all_steps if (found := _curve(steps[lane], rate, grid))]
            if not curves:
                continue
            low, mean, high = (f(curves, axis=0).tolist() for f in (np.min, np.mean, np.max))
            color, words = marks[lane].color, f"{lane_title(lane)} {rate.short}"
            reach = grid[: len(mean)].tolist()
            traces.append(band(reach, low, high, color, legendgroup=words))
            texts[len(traces)] = rate.mark.glyph, words
            traces.append(
                line(
                    words,
                    reach,
                    mean,
                    color,
                    dash=rate.mark.dash,
                    symbol=rate.mark.symbol,
                    every=4,
                    legendgroup=words,
                    hovertemplate=f"{rate.name}, mean of {len(curves)}: %{{y:.1f}} %"
                    "<extra></extra>",
                )
            )
    layout = base_layout(
        step_title(all_steps[0]),
        SHARE,
        right=120,
        yaxis=AXIS,
        annotations=direct_labels(traces, texts),
    )
    rows = [
        {"Seed": one.spec.seed, "Lane": lane_title(lane), **rate_columns(found["after"])}
        for one in repeats
        for lane, found in one.lanes.items()
        if "after" in found
    ]
    return make_chart(traces, layout, rows, repeats_finding(repeats))


def _curve(seen: Sequence[Event], rate: Rate, grid: np.ndarray) -> list[float]:
    """A rate in percent at the steps of the grid, on straight lines between measured steps; empty
    where it was never measured.
    """
    known = [(event["step"], event[rate.key]) for event in seen if event.get(rate.key) is not None]
    if not known:
        return []
    steps, values = zip(*known, strict=True)
    found: list[float] = (100 * np.interp(grid, steps, values)).tolist()
    return found


def repeats_finding(repeats: Sequence[Repeat]) -> str:
    """How much each lane leaves, over the repeats, in one sentence."""
    parts = []
    for lane in repeats[0].spec.lane_names():
        ended = [one.lanes[lane]["after"] for one in repeats if "after" in one.lanes.get(lane, {})]
        if not ended:
            continue
        parts.append(f"{lane_title(lane)} {_left(ended)}")
    out = sum("after" not in one.lanes.get(lane, {}) for one in repeats for lane in one.lanes)
    lost = f" {out} of the lanes diverged and count for nothing." if out else ""
    return f"Over {len(repeats)} purification seeds, {'; '.join(parts)}.{lost}" if parts else ""


def _left(ended: Sequence[Mapping[str, Any]]) -> str:
    kept = f"clean accuracy {_range([after['ca'] for after in ended])}"
    if ended[0].get("asr") is None:
        return f"ends at {kept}"
    return f"leaves an attack success rate of {_range([after['asr'] for after in ended])} at {kept}"


def _range(values: Sequence[float]) -> str:
    """`22.4 % (0.3 to 78.4)`"""
    mean, low, high = statistics.fmean(values), min(values), max(values)
    return f"{percent(mean)} ({100 * low:.1f} to {100 * high:.1f})"
