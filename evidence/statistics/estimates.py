"""A number with its interval, its p-value and what it is of; corrected for many, told in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.special import ndtr, stdtr, stdtrit

LEVEL = 0.95  # of every interval here


@dataclass(frozen=True, kw_only=True)
class Count:
    """What a number is of.

    models: backdoored ones, or those purified. purification_seeds: for each model; 0 where nothing
    was purified.
    """

    attacks: int = 0
    models: int = 0
    benign: int = 0
    purification_seeds: int = 0

    def __str__(self) -> str:
        parts = [
            (self.attacks, "attack", "attacks"),
            (self.models, "model", "models"),
            (self.benign, "benign model", "benign models"),
            (self.purification_seeds, "purification seed", "purification seeds"),
        ]
        told = [f"{n} {one if n == 1 else many}" for n, one, many in parts if n]
        return "n = " + ", ".join(told)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """value, low, high: estimate and 95 % interval. p: of no effect, two-sided; None where the
    estimator has none. df: degrees of freedom of Student's t; None for a bootstrap.
    p_adjusted: Holm's, over the family that its maker names.
    """

    value: float
    low: float
    high: float
    estimator: str
    count: Count
    p: float | None = None
    df: float | None = None
    p_adjusted: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def excludes(self, value: float) -> bool:
        """Whether the interval leaves this value out."""
        return not self.low <= value <= self.high


def from_t(
    value: float, stderr: float, df: float, *, estimator: str, count: Count, ratio: bool = False
) -> Estimate:
    """The t interval and test of no effect (value 0). ratio: all of it is then exponentiated."""
    half = float(stdtrit(df, (1 + LEVEL) / 2)) * stderr
    scale = math.exp if ratio else float
    return Estimate(
        value=scale(value),
        low=scale(value - half),
        high=scale(value + half),
        p=float(2 * stdtr(df, -abs(value) / stderr)),
        df=df,
        estimator=estimator,
        count=count,
    )


def holm(found: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """The same estimates with p adjusted by Holm (1979, Scand. J. Statist. 6) over all of them.

    Raises ValueError for one without a p-value.
    """
    lacking = [name for name, one in found.items() if one.p is None or not math.isfinite(one.p)]
    if lacking:
        raise ValueError(f"There is no p-value of {', '.join(lacking)}.")
    out, least = dict(found), 0.0
    for k, name in enumerate(sorted(found, key=lambda name: found[name].p or 0.0)):
        least = max(least, min(1.0, (len(found) - k) * (found[name].p or 0.0)))
        out[name] = replace(found[name], p_adjusted=least)
    return out


def ratio_sentence(what: str, than: str, found: Estimate) -> str:
    """`Largest Hessian eigenvalue: 1.45 times that of benign models (95 % interval ...)`."""
    return (
        f"{what}: {_figures(found.value)} times that of {than} (95 % interval "
        f"{_figures(found.low)} to {_figures(found.high)}{_p_in_words(found)}; {found.count})."
    )


def percent_sentence(what: str, found: Estimate) -> str:
    """`ASR at a drop of 1 point: 12.3 % (95 % interval ...)`; value a fraction."""
    return (
        f"{what}: {100 * found.value:.1f} % (95 % interval {100 * found.low:.1f} to "
        f"{100 * found.high:.1f}{_p_in_words(found)}; {found.count})."
    )


def auc_sentence(what: str, found: Estimate) -> str:
    return (
        f"{what}: AUC {found.value:.2f} (95 % interval {found.low:.2f} to {found.high:.2f}; "
        f"{found.count})."
    )


def _p_in_words(found: Estimate) -> str:
    p, name = (found.p, "p") if found.p_adjusted is None else (found.p_adjusted, "Holm's p")
    if p is None:
        return ""
    return f", {name} < 0.001" if p < 0.001 else f", {name} = {p:.2g}"


def _figures(value: float) -> str:
    """Three figures: 0.482, 1.45, 14.6, 146."""
    digits = 2 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 4)}f}"


def expanded_tails(units: int) -> tuple[float, float]:
    """Quantiles of a bootstrap distribution that make a 95 % interval of few units: those of the
    expanded percentile interval, which widens it as t and n - 1 do a normal one (Hesterberg 2015,
    The American Statistician 69, section 5).
    """
    if units < 2:
        raise ValueError("One unit has no spread: a bootstrap needs two or more.")
    tail = float(ndtr(math.sqrt(units / (units - 1)) * stdtrit(units - 1, (1 - LEVEL) / 2)))
    return tail, 1 - tail


def from_draws(
    value: float, draws: Sequence[float] | np.ndarray, units: int, *, estimator: str, count: Count
) -> Estimate:
    """The expanded percentile interval. units: the fewest that were resampled."""
    low, high = np.quantile(np.asarray(draws, dtype=float), expanded_tails(units))
    return Estimate(value=value, low=float(low), high=float(high), estimator=estimator, count=count)
