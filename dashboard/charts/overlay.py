"""Races of several runs on one axis: every curve, or the mean of each group in its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dashboard.charts.axes import stack
from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.compared import Entry, Mean, groups, mean_of
from dashboard.charts.rates import AXIS, Rate, percents, rate_columns, rate_curve
from dashboard.charts.style import Mark, Trace, band, base_layout, escape, listed, percent

GONE = 0.1  # the attack success rate from which on a race counts as won: about that of chance
_POINTS = 101  # of a mean: runs are measured at different steps
_FEW = 4  # curves that a sentence names one by one
_PERCENT = 100.0

Points = list[tuple[float, float]]  # (step, share)


def overlay_chart(entries: Sequence[Entry], rates: Sequence[Rate], *, means: bool) -> Chart:
    """One panel per rate, below each other over the same steps.

    means: whether the mean of each group is drawn, in its 95 % interval, over thin single runs.
    """
    by_group = groups(entries)
    traces: list[Trace] = []
    told: set[str] = set()
    said = []
    for place, rate in enumerate(rates, start=1):
        axis = "y" if place == 1 else f"y{place}"
        lines: list[tuple[str, Points]] = []
        for group, own in by_group.items():
            drawn = [entry for entry in own if _points(entry, rate)]
            if not drawn:
                continue
            mean = _mean_curve(drawn, rate) if means else None
            made = [_single(entry, rate, group, thin=mean is not None) for entry in drawn]
            if mean is not None:
                made += _mean_traces(group, own[0].mark, *mean)
                steps, found = mean
                lines.append((f"the mean of {group} ({found[-1].count})", _shares(steps, found)))
            else:
                lines += [(entry.name, _points(entry, rate)) for entry in drawn]
            for trace in made:
                named = trace.pop("named", False) and group not in told
                told |= {group} if named else set()
                traces.append({**trace, "yaxis": axis, "showlegend": named})
        said.append(_said(rate, lines))
    layout = base_layout(
        "Step of the purification",
        "",
        showlegend=True,
        xaxis={"range": _reach(entries)},
        meta={"x_name": "step"},
    )
    stack(layout, [_axis(rate, entries) for rate in rates])
    finding = " ".join(filter(None, [*said, *_remarks(entries, rates, means=means)]))
    rows = [
        {
            "Model": entry.name,
            "Group": entry.group.words,
            "Step": event["step"],
            **rate_columns(event),
        }
        for entry in entries
        for event in entry.points
    ]
    names = listed(list(dict.fromkeys(by_group)))
    alt = f"Line chart of {listed([rate.name.lower() for rate in rates])} by step: {names}."
    return make_chart(traces, layout, rows, finding, f"{alt} {finding}")


def _points(entry: Entry, rate: Rate) -> Points:
    return [
        (event["step"], event[rate.key])
        for event in entry.points
        if event.get(rate.key) is not None
    ]


def _axis(rate: Rate, entries: Sequence[Entry]) -> dict[str, Any]:
    """From zero, but for clean accuracies, which lie close together: from the tens below them."""
    title = {"title": {"text": f"{rate.name} (%)", "standoff": 8}}
    shares = [share for entry in entries for _, share in _points(entry, rate)]
    if rate.key != "ca" or not shares:
        return {**AXIS, **title}
    low = _PERCENT * min(shares) // 10 * 10
    low -= 10 * (low == _PERCENT)
    room = 0.03 * (_PERCENT - low)
    return {"range": [low - room, _PERCENT + room], **title}


def _reach(entries: Sequence[Entry]) -> list[float]:
    """As far as any run was to go."""
    last = max((entry.steps for entry in entries if entry.points), default=100) or 100
    return [-0.012 * last, 1.012 * last]


def _single(entry: Entry, rate: Rate, group: str, *, thin: bool) -> Trace:
    """The curve of one run; behind a mean it is thin and has no marks."""
    curve = rate_curve(
        rate,
        entry.points,
        group,
        entry.mark.color,
        legendgroup=escape(group),
        hovertemplate=f"{rate.name}: %{{y:.1f}} %<extra>{escape(entry.name)}, step %{{x}}</extra>",
    )
    assert curve is not None, "only what was measured is drawn"
    curve["line"] |= {"width": 1.0 if thin else 2.25, "dash": entry.mark.dash}
    curve["marker"] |= {"symbol": entry.mark.symbol, "size": 6}
    if thin:
        return {**curve, "mode": "lines", "opacity": 0.45}
    return {**curve, "named": True}


def _mean_curve(drawn: Sequence[Entry], rate: Rate) -> tuple[np.ndarray, list[Mean]] | None:
    """The mean over the steps that all sound runs of a group have; None of fewer than two."""
    sound = [entry for entry in drawn if entry.diverged is None]
    if len(sound) < 2:
        return None
    curves = {entry.target: _points(entry, rate) for entry in sound}
    start = max(points[0][0] for points in curves.values())
    end = min(points[-1][0] for points in curves.values())
    if end <= start:
        return None
    grid = np.linspace(start, end, _POINTS)
    on_grid = {
        name: np.interp(grid, [step for step, _ in points], [share for _, share in points])
        for name, points in curves.items()
    }
    found = [
        mean_of([(entry, float(on_grid[entry.target][i])) for entry in sound], least=0.0, most=1.0)
        for i in range(_POINTS)
    ]
    return grid, [mean for mean in found if mean is not None]


def _shares(steps: np.ndarray, found: Sequence[Mean]) -> Points:
    return [(float(step), mean.value) for step, mean in zip(steps, found, strict=True)]


def _mean_traces(group: str, mark: Mark, steps: np.ndarray, found: Sequence[Mean]) -> list[Trace]:
    """The interval, where there is more than one unit, and the mean."""
    x = [round(float(step), 3) for step in steps]
    name = escape(group)
    curve: Trace = {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "legendgroup": name,
        "named": True,
        "x": x,
        "y": [percents(mean.value) for mean in found],
        "line": {"color": mark.color, "dash": mark.dash, "width": 3.5},
        "hovertemplate": f"mean, {found[0].count}: %{{y:.1f}} %<extra>{name}</extra>",
    }
    bounds = [(mean.low, mean.high) for mean in found]
    if any(low is None for low, _ in bounds):
        return [curve]
    low, high = ([_PERCENT * float(bound or 0.0) for bound in side] for side in zip(*bounds))
    return [band(x, low, high, mark.color, legendgroup=name, name=f"{name}, interval"), curve]


# ---- in words


def _said(rate: Rate, lines: Sequence[tuple[str, Points]]) -> str:
    """What the curves of one rate show that their ends do not."""
    if not lines:
        return ""
    if rate.key == "asr":
        return _falls(lines)
    pick, word = (min, "Lowest") if rate.key == "ca" else (max, "Highest")
    turns = [(name, *pick(points, key=lambda point: point[1])) for name, points in lines]
    if len(turns) <= _FEW:
        told = [f"{percent(share)} at step {step:.0f} for {name}" for name, step, share in turns]
        return f"{word} {rate.name.lower()} on the way: {listed(told)}."
    shares = [share for *_, share in turns]
    return (
        f"{word} {rate.name.lower()} on the way, over {len(turns)} curves: from "
        f"{percent(min(shares))} to {percent(max(shares))}."
    )


def _falls(lines: Sequence[tuple[str, Points]]) -> str:
    """When the attack success rate is first at or below `GONE`."""
    when = {
        name: next((step for step, share in points if share <= GONE), None)
        for name, points in lines
    }
    came = {name: step for name, step in when.items() if step is not None}
    mark = f"{_PERCENT * GONE:.0f} %"
    if len(lines) <= _FEW:
        told = [f"{name} at step {step:.0f}" for name, step in came.items()]
        never = [name for name, step in when.items() if step is None]
        parts = [f"first at or below {mark}: {listed(told)}"] if told else []
        parts += [f"never: {listed(never)}"] if never else []
        return f"Attack success rate {'; '.join(parts)}."
    text = f"Of {len(lines)} curves, {len(came)} come to an attack success rate of {mark} or less"
    if came:
        first, last = (pick(came, key=came.__getitem__) for pick in (min, max))
        text += f", the first at step {came[first]:.0f} ({first})"
        if len(came) > 1:
            text += f", the last at step {came[last]:.0f} ({last})"
    return f"{text}."


def _remarks(entries: Sequence[Entry], rates: Sequence[Rate], *, means: bool) -> list[str]:
    """What is not drawn, or ends early, and why."""
    said = [
        f"{entry.name} diverged at step {entry.diverged} and ended there"
        + (", and counts for no mean." if means else ".")
        for entry in entries
        if entry.diverged is not None
    ]
    none = [entry.name for entry in entries if not entry.points]
    if none:
        said.append(f"No curve, for nothing was measured step by step: {some(none)}.")
    for rate in rates:
        lack = [entry.name for entry in entries if entry.points and not _points(entry, rate)]
        if lack:
            said.append(f"No {rate.name.lower()}, for it has no backdoor: {some(lack)}.")
    lengths = {entry.steps for entry in entries if entry.points}
    if len(lengths) > 1:
        said.append(
            f"The runs have {min(lengths):,} to {max(lengths):,} steps"
            + ("; a mean ends with the shortest run of its group." if means else ".")
        )
    return said


def some(names: Sequence[str]) -> str:
    """All of a few names, else the first and how many more."""
    if len(names) <= _FEW:
        return listed(list(names))
    return f"{', '.join(names[: _FEW - 1])} and {len(names) - _FEW + 1} more"
