"""Quantiles of a sample with their standard errors, for what scatters over many powers of ten."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from analysis.result import Value

# Shares of the sample: what a curve of its distribution is drawn through.
LEVELS = np.round(np.arange(0.05, 0.951, 0.05), 2)


class Quantiles(NamedTuple):
    """Some quantiles of a sample, float64 (L,) each.

    value: the quantiles.
    stderr: half the distance between the quantiles one standard error of the level to either side.
    """

    value: np.ndarray
    stderr: np.ndarray


def quantiles(sample: np.ndarray, levels: np.ndarray = LEVELS) -> Quantiles:
    """The quantiles of `sample` (n,) at `levels` (L,), shares from 0 to 1.

    The share of a sample below the true q-quantile is binomial, so the level of that quantile in
    the sample has the standard error sqrt(q (1 - q) / n), whatever the distribution is (Conover,
    Practical Nonparametric Statistics, 1999, section 3.2).

        >>> found = quantiles(np.arange(101.0), np.array([0.5]))
        >>> float(found.value[0]), round(float(found.stderr[0]), 2)
        (50.0, 4.98)
    """
    spread = np.sqrt(levels * (1 - levels) / len(sample))
    ends = [np.clip(levels + side * spread, 0, 1) for side in (-1, 1)]
    low, value, high = np.quantile(sample, np.stack([ends[0], levels, ends[1]]))
    return Quantiles(value, (high - low) / 2)


def mean_and_median(name: str, sample: np.ndarray) -> dict[str, Value]:
    """Mean and median of `sample` (n,) as values `<name>_mean` and `<name>_median`, with their
    standard errors `..._stderr` (None for a single one).
    """
    several, median = len(sample) > 1, quantiles(sample, np.array([0.5]))
    error = float(sample.std(ddof=1)) / math.sqrt(len(sample)) if several else None
    return {
        f"{name}_mean": float(sample.mean()),
        f"{name}_mean_stderr": error,
        f"{name}_median": float(median.value[0]),
        f"{name}_median_stderr": float(median.stderr[0]) if several else None,
    }
