"""Every attack: a measure of sharpness of each model, beside those of benign ones."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import GRAY, MODELS, base_layout, escape, number, upright
from dashboard.charts.titles import short

NONE = "none"
_CALLED = "Benign"
_TICKS = [digit * 10.0**power for power in range(-6, 7) for digit in (1, 2, 5)]


def every_attack_chart(models: Sequence[Mapping[str, Any]], measure: str, title: str) -> Chart:
    """A mark per model, a row per attack, the sharpest at the top and benign models below; a line
    at their median.

    models: {attack, seed, run, <measure>}, the final ones; those without the measure are left out.
    """
    values: dict[str, list[float]] = {}
    kept = [row for row in models if (row.get(measure) or 0) > 0]
    for row in kept:
        values.setdefault(row["attack"], []).append(row[measure])
    names = sorted(
        (name for name in values if name != NONE),
        key=lambda name: statistics.median(values[name]),
    )
    order = [NONE, *names] if NONE in values else names
    traces = [_marks(name, values[name], place) for place, name in enumerate(order)]
    benign = statistics.median(values[NONE]) if NONE in values else None
    layout = base_layout(
        escape(title),
        "",
        xaxis={"type": "log", "tickvals": _TICKS, "ticktext": [f"{tick:g}" for tick in _TICKS]},
        yaxis={
            "tickvals": list(range(len(order))),
            "ticktext": [f"{escape(_name(name))}  " for name in order],
            "range": [-0.7, len(order) - 0.3],
            "showgrid": False,
        },
        shapes=[] if benign is None else [upright(benign, color=GRAY)],
    )
    table = [
        {"Attack": _name(row["attack"]), "Seed": row["seed"], title: row[measure]} for row in kept
    ]
    return make_chart(traces, layout, table, _finding(values, benign, title))


def _name(attack: str) -> str:
    return _CALLED if attack == NONE else short("attacks", attack)


def _marks(attack: str, values: Sequence[float], place: int) -> dict[str, Any]:
    mark = MODELS["benign" if attack == NONE else "backdoored"]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": escape(_name(attack)),
        "x": list(values),
        "y": [place] * len(values),
        "marker": {"color": mark.color, "symbol": mark.symbol, "size": 8, "opacity": 0.8},
        "hovertemplate": f"%{{x:.3g}}<extra>{escape(_name(attack))}</extra>",
    }


def _finding(values: Mapping[str, Sequence[float]], benign: float | None, title: str) -> str:
    backdoored = {name: of for name, of in values.items() if name != NONE}
    if benign is None or not backdoored:
        return "Too few models for a comparison yet."
    highest = max(values[NONE])
    beyond = sorted(
        (name for name, of in backdoored.items() if min(of) > highest),
        key=lambda name: -statistics.median(backdoored[name]),
    )
    words = [short("attacks", name) for name in beyond[:4]]
    more = f" and {len(beyond) - 4} more" if len(beyond) > 4 else ""
    said = (
        f"all models of {len(beyond)} attack{'s' * (len(beyond) > 1)} ({', '.join(words)}{more}) "
        "lie above every benign one"
        if beyond
        else "no attack has all its models above every benign one"
    )
    count = sum(map(len, backdoored.values()))
    return (
        f"{title}, as the models are: {said}; the median of {len(values[NONE])} benign models is "
        f"{number(benign)} ({count} models of {len(backdoored)} attacks)."
    )
