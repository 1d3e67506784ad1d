"""Models of the zoo on one axis, attacks one below the other: backdoored, and purified by each
method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dashboard.charts.style import Trace, escape
from dashboard.charts.subject import BACKDOORED, Subject
from dashboard.charts.titles import lane_title, short

# what was done to a model -> what it is then, from top to bottom within an attack
SUBJECTS = {
    "before": BACKDOORED,
    **{method: Subject("purified", method) for method in ("ngf", "sgd", "adam")},
}
_STEP = 0.18  # between the methods of an attack; attacks are 1 apart


def method_title(method: str) -> str:
    """`Backdoored` or `after NGF`"""
    subject = SUBJECTS[method]
    return f"after {lane_title(subject.lane)}" if subject.lane else subject.title


def marks(
    found: Mapping[tuple[str, str], Sequence[float]],
    attacks: Mapping[str, str],
    said: Callable[[float], str],
) -> list[Trace]:
    """One trace per method, one mark per seed, attacks one below the other; `found` by attack and
    method.
    """
    middle = (len(SUBJECTS) - 1) / 2
    return [
        _marks(method, found, attacks, said, _STEP * (k - middle))
        for k, method in enumerate(SUBJECTS)
    ]


def _marks(
    method: str,
    found: Mapping[tuple[str, str], Sequence[float]],
    attacks: Mapping[str, str],
    said: Callable[[float], str],
    below: float,
) -> Trace:
    name, mark = method_title(method), SUBJECTS[method].mark
    points = [
        (value, i + below, f"{escape(title)}, {name}, seed {seed}: {said(value)}")
        for i, (attack, title) in enumerate(attacks.items())
        for seed, value in enumerate(found.get((attack, method), ()))
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [float(f"{x:.5g}") for x, _, _ in points],
        "y": [round(y, 2) for _, y, _ in points],
        "customdata": [text for *_, text in points],
        "marker": {"color": mark.color, "symbol": mark.symbol, "size": 9},
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def attack_axis(attacks: Sequence[str]) -> dict[str, Any]:
    """One row per attack, by its short name."""
    return {
        "tickvals": list(range(len(attacks))),
        "ticktext": [escape(short("attacks", name)) for name in attacks],
        "autorange": "reversed",
        "title": {"text": ""},
        "ticksuffix": "  ",
    }
