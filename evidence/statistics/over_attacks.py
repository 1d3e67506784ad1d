"""A mean over attacks, and what one method leaves more than another on the same models.

    mean over purification seeds of y = mean + u_attack + v_model

Purification seeds are nested in models, models in attacks: repeating a purification says nothing
about another model, nor models of one attack about another attack. So each model counts once, by
its mean, and never a purification. Of one attack alone, the interval is over its models. It is that
of a linear model: near 0 or 1 it can reach beyond what a share can be.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from evidence.statistics import mixed
from evidence.statistics.estimates import Count, Estimate, from_t
from evidence.statistics.tables import checked, labels

KEYS = ("attack", "seed", "purification_seed")
ALIKE = 1e-12  # a spread below which all values are the same number


def mean(results: pd.DataFrame, column: str) -> Estimate | None:
    """Of a column with a row per purification; None of fewer than two models, whose spread is not
    known. Raises ValueError for what `tables.checked` refuses.
    """
    if results.empty:
        return None
    results = checked(results, "purifications", keys=KEYS, finite=[column])
    models = labels(results, "attack", "seed").astype(str)
    if len(set(models)) < 2:
        return None
    count = Count(
        attacks=results["attack"].nunique(),
        models=len(set(models)),
        purification_seeds=int(results.groupby(["attack", "seed"]).size().min()),
    )
    means = results.groupby(["attack", "seed"], as_index=False)[column].mean()
    spread = means.groupby("attack")[column].agg(np.ptp)
    if float(spread.max()) < ALIKE:  # models of an attack are alike: each attack counts once
        means = means.groupby("attack", as_index=False)[column].mean()
    y = means[column].to_numpy(float)
    if np.ptp(y) < ALIKE:  # no spread was seen
        value = float(y[0])
        return Estimate(value=value, low=value, high=value, estimator=mixed.ESTIMATOR, count=count)
    design = np.ones((len(y), 1))
    random = {"attack": mixed.groups(labels(means, "attack").astype(str))}
    found = mixed.fit(y, design, mixed.identifiable(design, random)).contrast([1])
    return from_t(found.value, found.stderr, found.df, estimator=mixed.ESTIMATOR, count=count)


def paired(one: pd.DataFrame, other: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """one - other in these columns, for the models and purification seeds that both have; a
    purification seed draws the same clean images for every method.
    """
    keys = [*KEYS]
    both = one[[*keys, *columns]].merge(other[[*keys, *columns]], on=keys, suffixes=("", "_other"))
    for column in columns:
        both[column] = both[column] - both[f"{column}_other"]
    return both[[*keys, *columns]]


def difference(one: pd.DataFrame, other: pd.DataFrame, column: str) -> Estimate | None:
    """How much more `one` has than `other`, on the same models with the same purification seeds;
    None where they share fewer than two models.
    """
    return mean(paired(one, other, [column]), column)
