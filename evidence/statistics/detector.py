"""Which measure tells a backdoored model from a benign one, on an attack it has not seen?

Leave-one-attack-out: direction, threshold and weights come from the other attacks. Benign models
are left out as well, a part at a time: a score is compared only within the part that its fit has
not seen, so that neither side of a comparison was in the fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize
from scipy.special import ndtri
from scipy.stats import rankdata

from evidence.statistics.estimates import LEVEL, Count, Estimate
from evidence.statistics.tables import BENIGN, both_populations, checked

Array = NDArray[np.float64]
FOLDS = 5  # parts of the benign models
PENALTY = 1.0  # on squared weights of standardized log measures: a standard normal prior
ESTIMATOR = "Mann-Whitney AUC, score interval (Newcombe 2006, method 5)"


def auc(positive: Sequence[float] | Array, negative: Sequence[float] | Array) -> float:
    """P(positive > negative) + P(equal) / 2 over all pairs: Mann and Whitney's U / (m n)."""
    positive, negative = (np.asarray(values, float) for values in (positive, negative))
    if not len(positive) or not len(negative):
        raise ValueError("An AUC needs scores of both kinds.")
    both = np.concatenate([positive, negative])
    if not np.isfinite(both).all():
        raise ValueError("A score is not finite.")
    m, n = len(positive), len(negative)
    return float((rankdata(both)[:m].sum() - m * (m + 1) / 2) / (m * n))


def auc_interval(value: float, positive: int, negative: int) -> tuple[float, float]:
    """95 % interval: those AUC t with |value - t| at most 1.96 standard errors at t, by Hanley &
    McNeil's variance with both sizes replaced by their mean (Newcombe 2006, Statistics in Medicine
    25, 559-573, method 5). It does not shrink to a point at 0 and 1, as DeLong's does there.
    """
    z, mean = float(ndtri((1 + LEVEL) / 2)), (positive + negative) / 2 - 1

    def excess(t: float) -> float:
        spread = t * (1 - t) * (1 + mean * ((1 - t) / (2 - t) + t / (1 + t)))
        return (value - t) ** 2 - z**2 * spread / (positive * negative)

    # At 0 and 1 the value itself is a root, and not the end that is meant.
    low = 0.0 if value == 0 else float(brentq(excess, 0, min(value, 1 - 1e-12)))
    high = 1.0 if value == 1 else float(brentq(excess, max(value, 1e-12), 1))
    return low, high


def delong_variance(positive: Array, negative: Array) -> float:
    """Of the AUC (DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44, 837-845); at least two
    scores of each kind.
    """
    if min(len(positive), len(negative)) < 2:
        raise ValueError("DeLong's variance needs two scores of each kind.")
    wins = np.sign(positive[:, None] - negative[None]) / 2 + 0.5
    return float(
        wins.mean(1).var(ddof=1) / len(positive) + wins.mean(0).var(ddof=1) / len(negative)
    )


# ---- scores


@dataclass(frozen=True)
class Rule:
    """score(x) = weights . (x - center) / scale, x log measures (n, k). At `threshold` and above, a
    model is called backdoored. intercept: of the log odds, intercept + score; 0 for one measure,
    whose score is none.
    """

    center: Array
    scale: Array
    weights: Array
    threshold: float
    intercept: float = 0.0

    def score(self, x: Array) -> Array:
        return ((x - self.center) / self.scale) @ self.weights


def learned(x: Array, backdoored: NDArray[np.bool_], attack: np.ndarray) -> Rule:
    """Direction (one measure) or ridge logistic regression (several), with the threshold that has
    the highest mean of sensitivity and specificity. Both kinds weigh the same, and so do attacks.
    """
    weight = _even(backdoored, attack)
    center = weight @ x
    scale = np.sqrt(weight @ (x - center) ** 2)
    if (np.ptp(x, axis=0) == 0).any():
        raise ValueError("A measure is the same for all models: it tells nothing.")
    z = (x - center) / scale
    intercept = 0.0
    if x.shape[1] == 1:
        direction = 1.0 if auc(z[backdoored, 0], z[~backdoored, 0]) >= 0.5 else -1.0
        weights = np.array([direction])
    else:
        intercept, *found = log_odds(z, backdoored, weight * len(x))
        weights = np.array(found)
    score = z @ weights
    return Rule(center, scale, weights, _threshold(score, backdoored, weight), intercept)


def logistic(
    z: Array, positive: NDArray[np.bool_], weight: Array, penalty: float = PENALTY
) -> Array:
    """The weights (k,) of `log_odds`."""
    return log_odds(z, positive, weight, penalty)[1:]


def log_odds(
    z: Array, positive: NDArray[np.bool_], weight: Array, penalty: float = PENALTY
) -> Array:
    """Intercept and weights (1 + k,) of logistic regression, each weight with a normal prior of
    variance 1 / penalty; the intercept has none. It exists when the classes are separable too.
    """
    sign = np.where(positive, 1.0, -1.0)

    def loss(b: Array) -> tuple[float, Array]:
        margin = sign * (b[0] + z @ b[1:])
        pull = -weight * sign / (1 + np.exp(np.clip(margin, -700, 700)))
        slope = np.concatenate([[pull.sum()], pull @ z + penalty * b[1:]])
        return float(weight @ np.logaddexp(0, -margin) + penalty * b[1:] @ b[1:] / 2), slope

    found = minimize(
        loss, np.zeros(z.shape[1] + 1), jac=True, method="BFGS", options={"gtol": 1e-7}
    )
    return np.asarray(found.x)


def _even(backdoored: NDArray[np.bool_], attack: np.ndarray) -> Array:
    weight = np.where(backdoored, 0.0, 0.5 / max(1, int((~backdoored).sum())))
    names = np.unique(attack[backdoored].astype(str))
    for name in names:
        mine = attack == name
        weight[mine] = 0.5 / len(names) / mine.sum()
    return weight


def _threshold(score: Array, backdoored: NDArray[np.bool_], weight: Array) -> float:
    """Half way between two neighboring scores; the lowest of the best."""
    levels = np.unique(score)
    cuts = np.concatenate([[levels[0] - 1], (levels[1:] + levels[:-1]) / 2, [levels[-1] + 1]])
    called = score[None] >= cuts[:, None]
    right = (called == backdoored[None]) @ weight
    return float(cuts[int(np.argmax(np.round(right, 12)))])


# ---- leave one attack out


@dataclass(frozen=True, kw_only=True)
class Detection:
    """auc: of each attack when it was left out. mean: over attacks, each counted as one model for
    the interval, since models of one attack are alike. found: share of the attack's models called
    backdoored; false_alarms: share of the benign ones, means over attacks.
    """

    measures: tuple[str, ...]
    auc: dict[str, Estimate]
    mean: Estimate
    found: dict[str, float]
    false_alarms: float


@dataclass(frozen=True)
class Fold:
    """A rule that has seen neither the models of one attack nor a part of the benign ones.

    ours: its scores of that attack's models. theirs: of that part. mine, part: their places.
    """

    attack: str
    rule: Rule
    ours: Array
    theirs: Array
    mine: NDArray[np.intp]
    part: NDArray[np.intp]


def folds_of(
    models: pd.DataFrame, measures: Sequence[str], *, folds: int = FOLDS, logs: bool = True
) -> Iterator[Fold]:
    """Every attack with every part of the benign models, as `leave_one_attack_out` takes them."""
    if not measures:
        raise ValueError("No measure is named.")
    wanted = {"positive" if logs else "finite": measures}
    models = checked(models, "models", keys=("attack", "seed"), **wanted)
    both_populations(models)
    attack = models["attack"].to_numpy(object)
    backdoored = attack != BENIGN
    values = models[[*measures]].to_numpy(float)
    x = np.log(values) if logs else values
    benign = np.flatnonzero(~backdoored)
    order = np.argsort(models["seed"].to_numpy()[benign], kind="stable")
    for name in np.unique(attack[backdoored].astype(str)):
        mine = np.flatnonzero(attack == name)
        for part in np.array_split(benign[order], min(folds, len(benign))):
            seen = np.setdiff1d(np.arange(len(x)), np.concatenate([mine, part]))
            rule = learned(x[seen], backdoored[seen], attack[seen])
            yield Fold(str(name), rule, rule.score(x[mine]), rule.score(x[part]), mine, part)


def leave_one_attack_out(
    models: pd.DataFrame, measures: Sequence[str], *, folds: int = FOLDS, logs: bool = True
) -> Detection:
    """One measure: its direction is learned; several: logistic regression of their logs.

    models: attack (`none`: benign), seed and the measures, above 0; any numbers without `logs`,
    which takes them as they are. Raises ValueError for what `tables.checked` refuses, fewer than 2
    attacks or 3 benign models.
    """
    folded = list(folds_of(models, measures, folds=folds, logs=logs))
    attack = models["attack"].to_numpy(object)
    backdoored = attack != BENIGN
    benign = np.flatnonzero(~backdoored)
    found, called, alarms = {}, {}, []
    for name in np.unique(attack[backdoored].astype(str)):
        mine = np.flatnonzero(attack == name)
        wins, hits, false = 0.0, [], 0
        for fold in folded:
            if fold.attack != name:
                continue
            wins += auc(fold.ours, fold.theirs) * len(fold.theirs)
            hits.append(float((fold.ours >= fold.rule.threshold).mean()))
            false += int((fold.theirs >= fold.rule.threshold).sum())
        count = Count(attacks=1, models=len(mine), benign=len(benign))
        found[str(name)] = _estimate(wins / len(benign), len(mine), count)
        called[str(name)] = float(np.mean(hits))
        alarms.append(false / len(benign))
    count = Count(attacks=len(found), models=int(backdoored.sum()), benign=len(benign))
    mean = float(np.mean([one.value for one in found.values()]))
    return Detection(
        measures=tuple(measures),
        auc=found,
        mean=_estimate(mean, len(found), count),
        found=called,
        false_alarms=float(np.mean(alarms)),
    )


def _estimate(value: float, positive: int, count: Count) -> Estimate:
    value = min(1.0, max(0.0, round(value, 12)))  # sums of thirds may end beside 1
    low, high = auc_interval(value, positive, count.benign)
    return Estimate(value=value, low=low, high=high, estimator=ESTIMATOR, count=count)


def table(found: Sequence[Detection]) -> pd.DataFrame:
    """A row per detector and attack; `attack` is `mean of attacks` for all."""
    rows = [
        {"measures": " + ".join(one.measures), "attack": name, **of.to_json()}
        for one in found
        for name, of in {"mean of attacks": one.mean, **one.auc}.items()
    ]
    return pd.DataFrame(rows)
