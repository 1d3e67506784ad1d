"""Whether one number ranks purified models as another does: Spearman's rank correlation over all of
them, and within each model that they come from, with bootstrap intervals over those models.

Purifications of one model are not independent, so models are drawn with all of theirs (see
`evidence.statistics.resampling`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from evidence.statistics.resampling import DRAWS, weights

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A correlation with the ends of its 95 % interval (2.5 % and 97.5 % of the resamples), and of
    how many models it is; None where none could be taken.
    """

    value: float | None
    low: float | None
    high: float | None
    models: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def spearman(x: Array, y: Array) -> float | None:
    """Spearman's rank correlation, ties at their mean rank; None where all of either are alike."""
    first, second = (rankdata(values) - (len(values) + 1) / 2 for values in (x, y))
    size = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / size if size else None


def overall(x: Array, y: Array, models: NDArray[np.str_], *, seed: int = 0) -> Estimate:
    """Over all rows; models: the one that each row comes from."""
    names = np.unique(models)
    rows = {name: np.flatnonzero(models == name) for name in names}
    found = []
    for times in _resamples(len(names), seed):
        drawn = np.concatenate(
            [np.tile(rows[name], int(k)) for name, k in zip(names, times, strict=True) if k]
        )
        found.append(spearman(x[drawn], y[drawn]))
    return _estimate(spearman(x, y), found, len(names))


def within(x: Array, y: Array, models: NDArray[np.str_], *, seed: int = 0) -> Estimate:
    """Mean over models of the correlation among the rows of each. Models whose rows are all alike
    in either number rank nothing and are left out.
    """
    each = [spearman(x[models == name], y[models == name]) for name in np.unique(models)]
    known = np.array([one for one in each if one is not None])
    if not len(known):
        return Estimate(value=None, low=None, high=None, models=0)
    found = [float(times @ known) / len(known) for times in _resamples(len(known), seed)]
    return _estimate(float(known.mean()), found, len(known))


def _resamples(count: int, seed: int) -> Array:
    """How often each of so many models counts in each resample, (draws, count)."""
    each = np.array([str(i).rjust(6) for i in range(count)], dtype=object)
    return weights(each, np.random.default_rng(seed), DRAWS)


def _estimate(value: float | None, found: Sequence[float | None], models: int) -> Estimate:
    known = [one for one in found if one is not None]
    if value is None or not known:
        return Estimate(value=value, low=None, high=None, models=models)
    low, high = np.quantile(known, (0.025, 0.975))
    return Estimate(value=value, low=float(low), high=float(high), models=models)
