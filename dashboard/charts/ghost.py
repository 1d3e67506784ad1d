"""Another race, faint behind the curves of one: an earlier run, another seed, a recording."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dashboard.charts.chart import Chart
from dashboard.charts.race import Steps, steps_of
from dashboard.charts.rates import RATES, Event, rate_columns, rate_curve
from dashboard.charts.style import Trace, escape, lane_marks, listed, percent
from dashboard.charts.titles import lane_title
from ngf.config import Choice, Fork, PurifySpec

MARK = "ghost"  # `meta` of its traces: no slider stops at their points, and none cuts them
_FAINT = 0.32  # opacity
_DRAWN = ("ca", "asr")  # the third rate is in the table: six more lines would hide the race


@dataclass(frozen=True)
class Ghost:
    """The race that lies behind another one."""

    spec: PurifySpec
    events: Sequence[Event]

    def before(self, spec: PurifySpec) -> Fork | None:
        """Where the race `spec` branches off this one; None where it does not."""
        fork = spec.fork()
        return fork if fork is not None and fork.run == self.spec.id else None


def with_ghost(chart: Chart, spec: PurifySpec, events: Iterable[Event], ghost: Ghost) -> Chart:
    """The chart of the race `spec` with the curves of another one behind it, a row for each of its
    points, and a sentence on what differs. Behind a fork the race that it branches off goes on;
    their steps are counted from there.
    """
    here, there = _points(spec, events), _points(ghost.spec, ghost.events)
    name = differs(spec, ghost.spec)
    figure, fork = chart.figure, ghost.before(spec)
    if fork is not None:
        name = f"no fork at step {fork.step}"
        there = {fork.lane: _counted_from(fork.step, there.get(fork.lane, []))}
        figure = {**figure, "layout": _branching(figure["layout"], there[fork.lane])}
    said = {
        step: f"{words} {sentence(here, there, name, step)}".strip()
        for step, words in chart.findings.items()
    }
    return replace(
        chart,
        figure={**figure, "data": [*figure["data"], *_traces(here, there, name)]},
        rows=[*chart.rows, *_rows(there, name)],
        finding=f"{chart.finding} {sentence(here, there, name)}".strip(),
        alt=f"{chart.alt} Faint behind it, a race with {name}.",
        findings=said,
    )


def _counted_from(step: int, seen: Sequence[Event]) -> list[Event]:
    return [{**event, "step": event["step"] - step} for event in seen]


def _branching(layout: dict[str, Any], seen: Sequence[Event]) -> dict[str, Any]:
    """The layout with room for the steps before the fork, and a line where it is."""
    axis = layout["xaxis"]
    low, high = axis["range"]
    low = min([low, *(event["step"] for event in seen)])
    line = {"type": "line", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1}
    return {
        **layout,
        "xaxis": {**axis, "range": [low, high]},
        "shapes": [*layout.get("shapes", []), {**line, "line": {"dash": "dot", "width": 1}}],
    }


def differs(spec: PurifySpec, other: PurifySpec) -> str:
    """What the other race has instead: `seed 1`, `300 clean images`; `the same settings`."""
    found = []
    if other.parent != spec.parent:
        found.append(f"the model of {other.parent}")
    if other.seed != spec.seed:
        found.append(f"seed {other.seed}")
    if other.num_clean != spec.num_clean:
        found.append(f"{other.num_clean:,} clean images")
    if other.lanes != spec.lanes:
        found.append(" vs ".join(map(_lane, other.lanes)))
    if other.start != spec.start:
        found.append(f"its fork at {other.start}" if other.start else "no fork")
    if other.choosing != spec.choosing:
        found.append(f"settings judged “{other.choosing}”")
    return listed(found) if found else "the same settings"


def _lane(choice: Choice) -> str:
    """`SGD (lr = 0.1)`"""
    options = ", ".join(f"{name} = {value}" for name, value in sorted(choice.options.items()))
    return lane_title(choice.name) + (f" ({options})" if options else "")


def _points(spec: PurifySpec, events: Iterable[Event]) -> Steps:
    """The evaluated steps of each lane."""
    return {
        lane: [event for event in seen if event.get("ca") is not None]
        for lane, seen in steps_of(spec, events).items()
    }


def _traces(here: Steps, there: Steps, name: str) -> list[Trace]:
    """A faint curve per lane and drawn rate, in the color of the lane of that name."""
    marks = lane_marks(list(dict.fromkeys([*here, *there])))
    traces = []
    for lane, seen in there.items():
        for rate in RATES:
            color = rate.mark.color if len(here) == 1 else marks[lane].color
            about = f"{escape(lane_title(lane))} with {escape(name)}"
            curve = rate.key in _DRAWN and rate_curve(
                rate,
                seen,
                f"{lane_title(lane)} {rate.short}, {name}",
                color,
                opacity=_FAINT,
                meta=MARK,
                showlegend=False,
                zorder=0,
                hovertemplate=f"{rate.name}: %{{y:.1f}} %<extra>{about}, step %{{x}}</extra>",
            )
            if curve:
                traces.append({**curve, "mode": "lines"})
    return traces


def _rows(there: Steps, name: str) -> list[dict[str, Any]]:
    return [
        {
            "Lane": f"{lane_title(lane)}, faint: {name}",
            "Step": event["step"],
            **rate_columns(event),
            "Training loss": event.get("loss"),
        }
        for lane, seen in there.items()
        for event in seen
    ]


def sentence(here: Steps, there: Steps, name: str, step: int | None = None) -> str:
    """`Faint: seed 1. At step 100 NGF has an attack success rate of 0.4 % (faint: 0.6 %) ...`

    step: the last one that counts; None for the last there is.
    """
    said = []
    for lane, seen in here.items():
        now = _last(seen, step)
        then = _last(there.get(lane, []), None if now is None else now["step"])
        if now is None or then is None:
            continue
        rates = [
            f"{rate.short} {percent(now[rate.key])} (faint: {percent(then[rate.key])})"
            for rate in RATES
            if rate.key in _DRAWN and None not in (now.get(rate.key), then.get(rate.key))
        ]
        said.append(f"{lane_title(lane)} at step {now['step']:,}: {listed(rates)}")
    if not said:
        return f"Faint: a race with {name}; the two have no lane in common."
    return f"Faint: a race with {name}. {'; '.join(said)}."


def _last(seen: Sequence[Event], step: int | None) -> Event | None:
    fitting = [event for event in seen if step is None or event["step"] <= step]
    return fitting[-1] if fitting else None
