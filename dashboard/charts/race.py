"""The race: clean accuracy, attack success rate and robust accuracy of every lane, step by step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import (
    RATES,
    base_layout,
    direct_labels,
    lane_colors,
    lane_title,
    line,
    percent,
)
from ngf.config import PurifySpec

_SAME = 0.01  # a change of at most one percentage point is not called a change
_FALLS = 0.05  # an attack that loses at most five points still stands


def race_chart(spec: PurifySpec, events: list[dict[str, Any]]) -> Chart:
    """`events` are those of a purification; only its evaluated steps are drawn."""
    lanes = spec.lane_names()
    points = {
        lane: [
            event
            for event in events
            if event.get("type") == "step"
            and event.get("lane") == lane
            and event.get("ca") is not None
        ]
        for lane in lanes
    }
    colors = lane_colors(lanes)
    traces: list[dict[str, Any]] = []
    texts: dict[int, tuple[str, str]] = {}
    for lane in lanes:
        for rate in RATES:
            seen = [event for event in points[lane] if event.get(rate.key) is not None]
            if not seen:
                continue
            words = f"{lane_title(lane)} {rate.short}" if len(lanes) > 1 else rate.name
            texts[len(traces)] = rate.glyph, words
            traces.append(
                line(
                    words,
                    [event["step"] for event in seen],
                    [round(100 * event[rate.key], 3) for event in seen],
                    colors[lane] if len(lanes) > 1 else rate.color,
                    dash=rate.dash,
                    symbol=rate.symbol,
                    every=max(1, len(seen) // 25),
                    legendgroup=lane,
                    zorder=len(lanes) - lanes.index(lane),
                    hovertemplate=(
                        f"{rate.name}: %{{y:.1f}} %<extra>{lane_title(lane)}, step %{{x}}</extra>"
                    ),
                )
            )
    steps = max((event["steps"] for event in events if event.get("type") == "step"), default=100)
    layout = base_layout(
        "Step of fine-tuning",
        "Share of test images (%)",
        right=150 if len(lanes) == 1 else 96,
        xaxis={"range": [-0.012 * steps, 1.012 * steps]},
        yaxis={"range": [-3, 103], "tickvals": [0, 25, 50, 75, 100]},
        annotations=direct_labels(traces, texts, low=-3, high=103),
        meta={"x_name": "step"},
    )
    rows = [
        {
            "Lane": lane_title(lane),
            "Step": event["step"],
            **{
                f"{rate.name} (%)": None
                if event.get(rate.key) is None
                else round(100 * event[rate.key], 3)
                for rate in RATES
            },
            "Training loss": event.get("loss"),
        }
        for lane in lanes
        for event in points[lane]
    ]
    finding = race_finding(points)
    return make_chart(traces, layout, rows, finding, _alt(lanes, steps, finding))


def _alt(lanes: Iterable[str], steps: int, finding: str) -> str:
    names = " and ".join(lane_title(lane) for lane in lanes)
    return (
        f"Line chart over {steps} steps: clean accuracy, attack success rate and robust accuracy "
        f"of {names}. {finding}"
    )


def race_finding(points: Mapping[str, list[dict[str, Any]]]) -> str:
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


def _first_lane(lane: str, seen: list[dict[str, Any]]) -> str:
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


def _other_lane(lane: str, seen: list[dict[str, Any]], step: int) -> str:
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
