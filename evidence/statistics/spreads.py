"""Two spreads that must not be mixed: between models, and between purifications of one model."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from evidence.statistics.estimates import Count, Estimate, from_t
from evidence.statistics.tables import checked

KEYS = ("attack", "seed", "purification_seed")
ESTIMATOR = "mean of models' means, t interval over models"


@dataclass(frozen=True, kw_only=True)
class Spreads:
    """mean: over models of each one's mean over purification seeds; None for one model, which has
    no interval. between_models: standard deviation of those means; it holds what is left in them of
    the purification's. between_seeds: standard deviation over purification seeds of one model,
    pooled. range_of_seeds: the widest of any model, highest minus lowest. None for fewer than two.
    """

    value: float
    mean: Estimate | None
    between_models: float | None
    between_seeds: float | None
    range_of_seeds: float | None
    count: Count


def spreads(results: pd.DataFrame, column: str) -> Spreads:
    """results: a row per purification: attack, seed, purification_seed and the column, a fraction.

    Of one attack, or of several as one population of models. Raises ValueError for what
    `tables.checked` refuses.
    """
    results = checked(results, "purifications", keys=KEYS, fractions=[column])
    by_model = results.groupby(["attack", "seed"])[column]
    means, sizes = by_model.mean(), by_model.size()
    count = Count(
        attacks=results["attack"].nunique(),
        models=len(means),
        purification_seeds=int(sizes.min()),
    )
    repeated = sizes[sizes > 1].index
    within = None
    if len(repeated):
        weights = sizes[repeated] - 1
        within = math.sqrt(float((by_model.var()[repeated] * weights).sum() / weights.sum()))
    several = len(means) > 1
    deviation = float(means.std()) if several else None
    mean = None
    if deviation is not None:
        stderr = deviation / math.sqrt(len(means))
        value = float(means.mean())
        mean = _interval(value, stderr, len(means) - 1, count)
    return Spreads(
        value=float(means.mean()),
        mean=mean,
        between_models=deviation,
        between_seeds=within,
        range_of_seeds=float((by_model.max() - by_model.min()).max()) if len(repeated) else None,
        count=count,
    )


def _interval(value: float, stderr: float, df: int, count: Count) -> Estimate:
    if stderr == 0:  # every model has the same mean: no spread was seen
        return Estimate(value=value, low=value, high=value, df=df, estimator=ESTIMATOR, count=count)
    return from_t(value, stderr, df, estimator=ESTIMATOR, count=count)


def sentence(what: str, found: Spreads) -> str:
    """`ASR after NGF: 12.3 % (95 % interval ...); between models ± 4.0 points, ...`"""

    def points(value: float | None) -> str:
        return "not known from one" if value is None else f"{100 * value:.1f} points"

    told = "no interval from one model"
    if found.mean:
        told = f"95 % interval {100 * found.mean.low:.1f} to {100 * found.mean.high:.1f}"
    return (
        f"{what}: {100 * found.value:.1f} % ({told}; standard deviation between models "
        f"{points(found.between_models)}, between purification seeds of one model "
        f"{points(found.between_seeds)}; {found.count})."
    )
