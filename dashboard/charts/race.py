"""The race: clean accuracy, attack success rate and robust accuracy of every lane, step by step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.rates import AXIS, RATES, SHARE, Event, Rate, rate_columns, rate_curve
from dashboard.charts.style import (
    Trace,
    base_layout,
    direct_labels,
    escape,
    lane_marks,
    percent,
)
from dashboard.charts.titles import lane_title
from ngf.config import PurifySpec

Steps = dict[str, list[Event]]  # the `step` events of each lane

_SAME = 0.01  # a change of at most one percentage point is not called a change
_FALLS = 0.05  # an attack that loses at most five points still stands


def steps_of(spec: PurifySpec, events: Iterable[Event]) -> Steps:
    """The steps of each lane, in the order of the specification."""
    steps: Steps = {lane: [] for lane in spec.lane_names()}
    for event in events:
        if event.get("type") == "step" and event.get("lane") in steps:
            steps[event["lane"]].append(event)
    return steps


def last_step(steps: Steps) -> int:
    """How far the axis of steps reaches: as far as the longest lane plans to go by now."""
    return max((seen[-1]["steps"] for seen in steps.values() if seen), default=100)


def step_title(steps: Steps) -> str:
    """What the axis of steps is called. Fine-tuning has a learning rate; pruning has none."""
    tuning = all("lr" in event for seen in steps.values() for event in seen)
    return "Step of fine-tuning" if tuning else "Step"


def race_chart(spec: PurifySpec, events: Iterable[Event]) -> Chart:
    """`events` are those of a purification; only its evaluated steps are drawn."""
    events = list(events)
    steps = steps_of(spec, events)
    points = {
        lane: [event for event in seen if event.get("ca") is not None]
        for lane, seen in steps.items()
    }
    traces, texts = _curves(points)
    total = last_step(steps)
    layout = base_layout(
        step_title(steps),
        SHARE,
        right=_room_for_labels(list(steps)),
        xaxis={"range": [-0.012 * total, 1.012 * total]},
        yaxis=AXIS,
        annotations=direct_labels(traces, texts),
        meta={"x_name": "step"},
    )
    rows: list[dict[str, Any]] = [
        {
            "Lane": lane_title(lane),
            "Step": event["step"],
            **rate_columns(event),
            "Training loss": event.get("loss"),
        }
        for lane, seen in points.items()
        for event in seen
    ]
    finding = " ".join(filter(None, [race_finding(points), *_diverged(events)]))
    return make_chart(traces, layout, rows, finding, _alt(steps, total, finding))


def told_along(spec: PurifySpec, events: Iterable[Event]) -> dict[int, str]:
    """What `race_finding` says at each step, of what had happened by then."""
    seen = steps_of(spec, events)
    points = {
        lane: [event for event in of if event.get("ca") is not None] for lane, of in seen.items()
    }
    steps = sorted({event["step"] for of in points.values() for event in of})
    return {
        step: race_finding(
            {lane: [event for event in of if event["step"] <= step] for lane, of in points.items()}
        )
        for step in steps
    }


def _diverged(events: Iterable[Event]) -> list[str]:
    """A sentence on each lane that diverged; its curves end before that."""
    return [
        f"{lane_title(event['lane'])} diverged at step {event['step']} and ended there."
        for event in events
        if event.get("type") == "diverged"
    ]


def _curves(points: Steps) -> tuple[list[Trace], dict[int, tuple[str, str]]]:
    """One curve per lane and rate, and what stands beside its end. One lane alone gives the rates
    their own colors.
    """
    marks = lane_marks(list(points))
    traces: list[Trace] = []
    texts: dict[int, tuple[str, str]] = {}
    for place, (lane, seen) in enumerate(points.items()):
        for rate in RATES:
            alone = len(points) == 1
            words = _label(lane, rate, alone)
            color = rate.mark.color if alone else marks[lane].color
            curve = rate_curve(rate, seen, words, color, **_about(lane, rate, len(points) - place))
            if curve is not None:
                texts[len(traces)] = rate.mark.glyph, words
                traces.append(curve)
    return traces, texts


def _label(lane: str, rate: Rate, alone: bool) -> str:
    return rate.name if alone else f"{lane_title(lane)} {rate.short}"


def _room_for_labels(lanes: Sequence[str]) -> int:
    """Pixels right of the curves, the same from the first point on."""
    labels = [_label(lane, rate, len(lanes) == 1) for lane in lanes for rate in RATES]
    return max(96, 26 + round(6.5 * max(map(len, labels))))


def _about(lane: str, rate: Rate, height: int) -> dict[str, Any]:
    """The first lane lies above the others."""
    words = f"{rate.name}: %{{y:.1f}} %<extra>{escape(lane_title(lane))}, step %{{x}}</extra>"
    return {"legendgroup": escape(lane), "zorder": height, "hovertemplate": words}


def _alt(lanes: Iterable[str], total: int, finding: str) -> str:
    names = " and ".join(lane_title(lane) for lane in lanes)
    return (
        f"Line chart over {total} steps: clean accuracy, attack success rate and robust accuracy "
        f"of {names}. {finding}"
    )


def race_finding(points: Mapping[str, Sequence[Event]]) -> str:
    """One sentence about evaluated steps, the first lane in front. '' when there are none."""
    started = {lane: seen for lane, seen in points.items() if seen}
    if not started:
        return ""
    moved = {lane: seen for lane, seen in started.items() if seen[-1]["step"] > seen[0]["step"]}
    if not moved:
        before = next(iter(started.values()))[0]
        attack = (
            ""
            if before.get("asr") is None
            else f" and the attack success rate {percent(before['asr'])}"
        )
        return f"Before the first step, clean accuracy is {percent(before['ca'])}{attack}."
    first, *others = moved
    parts = [_first_lane(first, moved[first])]
    parts += [_other_lane(lane, moved[lane], moved[first][-1]["step"]) for lane in others]
    return "; ".join(parts) + "."


def _first_lane(lane: str, seen: Sequence[Event]) -> str:
    before, after = seen[0], seen[-1]
    name, clean = lane_title(lane), _clean(before["ca"], after["ca"])
    if before.get("asr") is None or after.get("asr") is None:
        return f"After {_steps(after['step'])} {name} has {clean}"
    change = after["asr"] - before["asr"]
    verb = "cut" if change < -_SAME else "raised" if change > _SAME else ""
    attack = (
        f"{verb} the attack success rate from {percent(before['asr'])} to {percent(after['asr'])}"
        if verb
        else f"left the attack success rate at {percent(after['asr'])}"
    )
    return f"After {_steps(after['step'])} {name} has {attack} and {clean}"


def _clean(before: float, after: float) -> str:
    change = after - before
    points = f"{100 * abs(change):.1f}"
    if points == "0.0":
        return f"kept clean accuracy at {percent(after)}"
    if abs(change) <= _SAME:
        return f"kept clean accuracy within {points} points"
    word = "raised" if change > 0 else "lowered"
    return f"{word} clean accuracy by {points} points to {percent(after)}"


def _other_lane(lane: str, seen: Sequence[Event], step: int) -> str:
    before, after = seen[0], seen[-1]
    name = lane_title(lane)
    when = "" if after["step"] == step else f" after {_steps(after['step'])}"
    if before.get("asr") is None or after.get("asr") is None:
        return f"{name} has {_clean(before['ca'], after['ca'])}{when}"
    change = after["asr"] - before["asr"]
    cost = (
        ""
        if before["ca"] - after["ca"] <= _SAME
        else (f" at a cost of {100 * (before['ca'] - after['ca']):.1f} points of clean accuracy")
    )
    if change >= -_FALLS:
        verb = "still stands" if change <= _SAME else "has risen"
        tail = "at" if verb == "still stands" else "to"
        return f"{name} {verb} {tail} {percent(after['asr'])}{when}{cost}"
    return f"{name} has cut it to {percent(after['asr'])}{when}{cost}"


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count:,} steps"
