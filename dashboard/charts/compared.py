"""What is compared: models side by side, in groups by one field of what was asked for, and the
mean of a group with its interval.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from scipy.special import stdtrit  # scipy.stats takes half a second more to import

from dashboard.charts.rates import Event
from dashboard.charts.style import Mark, series_mark
from dashboard.charts.subject import Subject

LEVEL = 0.95  # of every interval


@dataclass(frozen=True)
class Value:
    """The value of a field. key: in an address; words: on a page; place: where it is sorted."""

    key: str
    words: str
    place: tuple[Any, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A model on show: what a lane of a purification made, or a training alone.

    target: as in `MeasureSpec`, `id` or `id:lane`.
    name: what it is called, apart from the others on show.
    fields: what was asked for, by the name of the field.
    group: the value of the field that colors it; mark: that of the group.
    model: what it started from, as a target; itself for a training.
    seed: of the purification.
    role, before, after: what it is, and its rates; empty where they are not known. A training has
        only those before.
    points: evaluated steps; steps: how many were to be made, 0 for a training.
    diverged: at which step, then there is no model.
    """

    target: str
    fields: Mapping[str, Value]
    model: str
    seed: int
    role: Literal["benign", "backdoored", "imported", "purified"]
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    points: Sequence[Event] = ()
    steps: int = 0
    diverged: int | None = None
    name: str = ""
    group: Value = Value("", "")
    mark: Mark = series_mark(0)

    @property
    def purified(self) -> bool:
        return self.role == "purified"


@dataclass(frozen=True)
class Shown(Subject):
    """One of several models that would have one name and color, had it not its own."""

    name: str = field(default="", kw_only=True)
    own: Mark = field(default=series_mark(0), kw_only=True)

    @property
    def title(self) -> str:
        return self.name

    @property
    def phrase(self) -> str:
        return f"“{self.name}”"

    @property
    def mark(self) -> Mark:
        return self.own


def groups(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """The entries by the words of their group, in the order of its values."""
    found: dict[str, list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.group.place):
        found.setdefault(entry.group.words, []).append(entry)
    return found


@dataclass(frozen=True)
class Mean:
    """The mean over the units of a group, with its t interval; none of a single unit.

    unit: what one of the `n` is, `model` or `purification seed`; lanes: how many were averaged.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    unit: Literal["model", "purification seed"]
    lanes: int

    @property
    def count(self) -> str:
        """`n = 5 purification seeds of one model` or `n = 3 models`"""
        many = "" if self.n == 1 else "s"
        of = " of one model" if self.unit != "model" else ""
        return f"n = {self.n} {self.unit}{many}{of}"


def units(
    found: Sequence[tuple[Entry, float]],
) -> tuple[Literal["model", "purification seed"], list[float]]:
    """What is independent among the values, and one number for each: models, or where there is only
    one, its purification seeds. What one unit has several of is averaged first, so that no unit
    counts twice.
    """
    several = len({entry.model for entry, _ in found}) > 1
    by: dict[str | int, list[float]] = {}
    for entry, value in found:
        by.setdefault(entry.model if several else entry.seed, []).append(value)
    return "model" if several else "purification seed", [*map(statistics.fmean, by.values())]


def mean_of(
    found: Sequence[tuple[Entry, float]], *, least: float = -math.inf, most: float = math.inf
) -> Mean | None:
    """The mean of a value over a group, with Student's interval over its units (see `units`), as
    far as that is possible: from `least` to `most`. None of nothing.
    """
    if not found:
        return None
    unit, values = units(found)
    low, high = t_interval(values)
    return Mean(
        statistics.fmean(values),
        None if low is None else max(low, least),
        None if high is None else min(high, most),
        len(values),
        unit,
        len(found),
    )


def t_interval(values: Sequence[float]) -> tuple[float, float] | tuple[None, None]:
    """The 95 % interval of the mean; None, None of a single value, which says nothing of others."""
    if len(values) < 2:
        return None, None
    stderr = statistics.stdev(values) / math.sqrt(len(values))
    half = float(stdtrit(len(values) - 1, (1 + LEVEL) / 2)) * stderr
    mean = statistics.fmean(values)
    return mean - half, mean + half


def rate_of(
    entries: Sequence[Entry], key: str, when: Literal["before", "after"]
) -> list[tuple[Entry, float]]:
    """The rates that are known, each with whose it is."""
    known = [(entry, getattr(entry, when).get(key)) for entry in entries]
    return [(entry, float(rate)) for entry, rate in known if rate is not None]


def mean_rate(entries: Sequence[Entry], key: str, when: Literal["before", "after"]) -> Mean | None:
    """The mean of a rate over a group."""
    return mean_of(rate_of(entries, key, when), least=0.0, most=1.0)
