"""Numbers of which there is one per seed: their mean, how far they spread, whether they agree."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from scipy.special import stdtrit  # scipy.stats takes half a second more to import

YES, NO, MIXED = "yes", "no", "mixed"  # what the seeds say together; mixed: it depends on the seed


def interval(values: Sequence[float]) -> dict[str, Any]:
    """Mean and the half width of its 95 % t interval over seeds (None for one seed)."""
    mean, n = statistics.fmean(values), len(values)
    half = None if n < 2 else quantile(n - 1) * statistics.stdev(values) / math.sqrt(n)
    return {"mean": mean, "half": half, "values": list(values), "n": n}


def quantile(degrees: int) -> float:
    """97.5 % point of Student's t, to the three decimals of printed tables, which the shipped
    intervals have.
    """
    return round(float(stdtrit(degrees, 0.975)), 3)


def spread(values: Sequence[float], digits: int = 0, unit: str = "", scale: int = 1) -> str:
    """Mean (lowest–highest): a t interval of three seeds says little about rates near 0."""
    mean, low, high = (
        f"{scale * value:.{digits}f}"
        for value in (statistics.fmean(values), min(values), max(values))
    )
    return f"{mean}{unit}" if len(values) == 1 else f"{mean}{unit} ({low}–{high})"


def rates(values: Sequence[float], unit: str = "") -> str:
    """`spread` of fractions, in percent."""
    return spread(values, 1, unit, scale=100)


def all_above(values: Sequence[float], others: Sequence[float]) -> str:
    """Whether all of `values` lie above all of `others` (yes), below (no), or neither (mixed)."""
    if min(values) > max(others):
        return YES
    return NO if max(values) < min(others) else MIXED


def all_fell(after: Mapping[int, float], before: Mapping[int, float]) -> str:
    """Whether each seed's value fell (yes), rose (no), or it depends on the seed (mixed)."""
    fell = {after[seed] < before[seed] for seed in after.keys() & before.keys()}
    return {frozenset({True}): YES, frozenset({False}): NO}.get(frozenset(fell), MIXED)


def all_at_most(values: Sequence[float], bound: float) -> str:
    """Whether every value is at most `bound` (yes), none (no), or some (mixed)."""
    if max(values) <= bound:
        return YES
    return NO if min(values) > bound else MIXED
