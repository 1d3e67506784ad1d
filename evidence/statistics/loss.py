"""Sharpness with the clean loss accounted for: at matched loss, and as a mediation.

Log λmax and log Tr(H) rise with log clean loss, so a model with a higher loss is sharper whatever
the reason. Two questions, neither of which replaces the raw ratio of `hierarchy`:

- `at_matched_loss`: is a backdoored model sharper than benign ones of the same clean loss? Benign
  models and their checkpoints along training give the curve.
- `mediation`: how much of the raw log ratio goes with the difference in loss?
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from evidence.statistics import mixed, resampling
from evidence.statistics.estimates import Count, Estimate, from_draws, from_t
from evidence.statistics.reference import KNOTS, Curve
from evidence.statistics.tables import BENIGN, both_populations, checked, labels

CAVEAT = (
    "Not a causal share: loss was not assigned by chance, it may itself be a consequence of "
    "sharpness, and what moves both (training time, learning rate, hard images) counts as passing "
    "through it. Linear in logs, with the same slope for benign and backdoored models."
)
MEDIATION = (
    "mediation by least squares on logs (Baron & Kenny 1986), expanded percentile bootstrap over "
    "benign models and attacks"
)


@dataclass(frozen=True, kw_only=True)
class Matched:
    """overall: backdoored / benign at the same loss, None where too few models can be compared;
    attacks: the same, shrunken. outside: (attack, seed, loss) of models whose loss the benign
    trainings do not have: they are not compared. low, high: the losses that they have. told: in
    words, what was compared and what could not be.
    """

    measure: str
    overall: Estimate | None
    attacks: dict[str, Estimate]
    outside: list[tuple[str, int, float]]
    low: float
    high: float
    told: str


def at_matched_loss(
    reference: pd.DataFrame, models: pd.DataFrame, measure: str, *, knots: int = KNOTS
) -> Matched:
    """Backdoored models against benign ones of the same clean loss.

        log m = curve(log loss) + effect [backdoored] + u_attack + v_seed + w_training + e

    The curve is a natural cubic spline; checkpoints of one training share w, and its models of one
    seed share v. Early checkpoints were taken at a higher learning rate: a difference of its own.

    reference: benign models and checkpoints along their training: columns seed, step, loss and the
    measure. models: finished backdoored ones: attack, seed, loss and the measure. Loss and measure
    of the same images. Raises ValueError for tables that `tables.checked` refuses and for a
    reference of fewer than 3 trainings.
    """
    both = ("loss", measure)
    reference = checked(reference, "the reference", keys=("seed", "step"), positive=both)
    models = checked(models, "models", keys=("attack", "seed"), positive=both)
    if (models["attack"] == BENIGN).any():
        raise ValueError("Benign models belong to the reference, not to the models.")
    curve = Curve.of(np.log(reference["loss"].to_numpy(float)), labels(reference, "seed"), knots)
    inside = curve.covers(np.log(models["loss"].to_numpy(float)))
    outside = [
        (str(attack), int(seed), float(value))
        for attack, seed, value in models.loc[~inside, ["attack", "seed", "loss"]].to_numpy()
    ]
    low, high = float(np.exp(curve.low)), float(np.exp(curve.high))
    compared = models[inside]
    num_attacks, trainings = compared["attack"].nunique(), reference["seed"].nunique()
    told = (
        f"{len(compared)} of {len(models)} backdoored models ({num_attacks} attacks) have a clean "
        f"loss that {trainings} benign trainings reach ({low:.3g} to {high:.3g})"
    )
    if num_attacks < 2:
        told += "; too few to compare, and the curve is not drawn on beyond its range."
        return Matched(
            measure=measure,
            overall=None,
            attacks={},
            outside=outside,
            low=low,
            high=high,
            told=told,
        )
    overall, attacks = _against(reference, compared, measure, curve)
    told += "." if not outside else "; the others are not compared."
    return Matched(
        measure=measure,
        overall=overall,
        attacks=attacks,
        outside=outside,
        low=low,
        high=high,
        told=told,
    )


def _against(
    reference: pd.DataFrame, models: pd.DataFrame, measure: str, curve: Curve
) -> tuple[Estimate, dict[str, Estimate]]:
    near = curve.near(np.log(reference["loss"].to_numpy(float)), np.log(models["loss"].to_numpy()))
    rows = pd.concat([reference[near].assign(attack=BENIGN), models], ignore_index=True)
    attack = labels(rows, "attack").astype(str)
    backdoored = attack != BENIGN
    loss = np.log(rows["loss"].to_numpy(float))
    design = np.column_stack([backdoored.astype(float), np.ones(len(rows)), curve.basis(loss)])
    random = {
        "attack": mixed.groups(attack, backdoored),
        "training": mixed.groups(labels(rows, "attack", "seed").astype(str)),
        "seed": mixed.groups(labels(rows, "seed").astype(str)),
    }
    y = np.log(rows[measure].to_numpy(float))
    fitted = mixed.fit(y, design, mixed.identifiable(design, random))
    weights = np.eye(design.shape[1])[0]
    benign = reference[near]["seed"].nunique()
    estimator = f"{mixed.ESTIMATOR}, natural spline of log clean loss"

    def estimate(found: mixed.Contrast, attacks: int, num: int) -> Estimate:
        count = Count(attacks=attacks, models=num, benign=benign)
        return from_t(
            found.value, found.stderr, found.df, estimator=estimator, count=count, ratio=True
        )

    names = np.unique(attack[backdoored])
    return estimate(fitted.contrast(weights), len(names), len(models)), {
        str(name): estimate(
            fitted.predicted(weights, "attack", level), 1, int((attack == name).sum())
        )
        for level, name in enumerate(names)
    }


# ---- mediation


@dataclass(frozen=True, kw_only=True)
class Mediation:
    """total: backdoored / benign as it is; through_loss and direct: the two factors of it. slope:
    of the log measure on the log loss, at equal backdoor. share: of the total log ratio that
    passes through the loss; None where the total's interval covers 1, as there is nothing to share.
    """

    measure: str
    total: Estimate
    through_loss: Estimate
    direct: Estimate
    slope: Estimate
    share: Estimate | None
    caveat: str = CAVEAT


def mediation(
    models: pd.DataFrame,
    measure: str,
    *,
    seed: int = 0,
    draws: int = resampling.DRAWS,
) -> Mediation:
    """How much of the difference goes with the clean loss, on finished models.

        log loss = i + a [backdoored],  log m = j + direct [backdoored] + b log loss

    through the loss: a b; total = direct + a b, exactly so for least squares. Each attack counts
    once, however many models it has. models: attack (`none`: benign), seed, loss and the measure.
    Raises ValueError for what `tables.checked` refuses, fewer than 2 attacks or 3 benign models.
    """
    models = checked(models, "models", keys=("attack", "seed"), positive=("loss", measure))
    both_populations(models)
    attack = labels(models, "attack")
    backdoored = (attack != BENIGN).astype(float)
    x, y = (np.log(models[column].to_numpy(float)) for column in ("loss", measure))
    even = 1 / models.groupby("attack")["attack"].transform("size").to_numpy(float)
    # One attack weighs as much as one benign model: both are a unit of their population.
    weight = np.where(backdoored > 0, even, 1.0)
    drawn = resampling.weights(attack, np.random.default_rng(seed), draws)
    drawn = drawn[(drawn @ np.column_stack([backdoored, 1 - backdoored]) > 0).all(axis=1)]
    every = np.vstack([np.ones(len(models)), drawn]) * weight
    ones = np.ones(len(models))
    a = resampling.least_squares(x, np.column_stack([ones, backdoored]), every)[:, 1]
    fitted = resampling.least_squares(y, np.column_stack([ones, backdoored, x]), every)
    direct, slope = fitted[:, 1], fitted[:, 2]
    through = a * slope
    attacks, benign = int(pd.unique(attack[attack != BENIGN]).size), int((backdoored == 0).sum())
    count = Count(attacks=attacks, models=int(backdoored.sum()), benign=benign)

    def interval(found: np.ndarray) -> Estimate:
        units = min(attacks, benign)
        return from_draws(float(found[0]), found[1:], units, estimator=MEDIATION, count=count)

    total = interval(np.exp(direct + through))
    return Mediation(
        measure=measure,
        total=total,
        through_loss=interval(np.exp(through)),
        direct=interval(np.exp(direct)),
        slope=interval(slope),
        share=interval(through / (direct + through)) if total.excludes(1) else None,
    )


def sentence(what: str, raw: Estimate, matched: Matched, shares: Mediation) -> str:
    """The three answers side by side, as a page says them."""
    at = (
        f"at the same clean loss {_ratio(matched.overall)}, {matched.overall.count}"
        if matched.overall
        else "no comparison at the same clean loss"
    )
    passed = (
        f"{100 * shares.share.value:.0f} % ({100 * shares.share.low:.0f} to "
        f"{100 * shares.share.high:.0f} %) of the log ratio passes through the loss"
        if shares.share
        else "the raw ratio is not clear of 1, so no share of it is given"
    )
    return (
        f"{what}, backdoored against benign: raw {_ratio(raw)}, {raw.count}; {at} ({matched.told}) "
        f"As a mediation, {passed}, and a ratio of {_ratio(shares.direct)} is left."
    )


def _ratio(found: Estimate) -> str:
    return f"{found.value:.2f} (95 % interval {found.low:.2f} to {found.high:.2f})"
