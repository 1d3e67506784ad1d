"""What purification changes: paired log ratios, raw and at matched clean loss or accuracy.

Purification seeds are nested in models, models in attacks: repeating a purification says nothing
about another model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evidence.statistics import mixed
from evidence.statistics.estimates import Count, Estimate, from_t, holm
from evidence.statistics.reference import KNOTS, Curve
from evidence.statistics.tables import BENIGN, checked, labels

# The covariate at which models are compared, and the scale on which a measure is smooth in it.
SCALES: dict[str, Callable[[mixed.Array], mixed.Array]] = {
    "loss": np.log,
    "ca": lambda ca: 100 * ca / 5,
}  # five points of accuracy count as a unit
BEFORE = ("attack", "seed")
AFTER = ("attack", "seed", "purification_seed")


def changes(before: pd.DataFrame, after: pd.DataFrame, measures: Sequence[str]) -> list[Estimate]:
    """after / before of the same model, one estimate per measure in order, Holm over measures.

        log(after / before) = effect + u_attack + v_model + e

    before: a row per model: attack, seed, measures. after: one per purification of one method:
    attack, seed, purification_seed, measures. Raises ValueError for what `tables.checked` refuses,
    a purified model that is not in `before`, and fewer than 2 attacks.
    """
    if not measures:
        raise ValueError("No measure is named.")
    before = checked(before, "models before", keys=BEFORE, positive=measures)
    after = checked(after, "purified models", keys=AFTER, positive=measures)
    both = _paired(before, after, measures)
    design = np.ones((len(both), 1))
    random = mixed.identifiable(
        design,
        {
            "attack": mixed.groups(labels(both, "attack").astype(str)),
            "model": mixed.groups(labels(both, "attack", "seed").astype(str)),
        },
    )
    found = {}
    for measure in measures:
        ratio = np.log(both[measure].to_numpy(float) / both[f"{measure}_before"].to_numpy(float))
        contrast = mixed.fit(ratio, design, random).contrast([1])
        found[measure] = _estimate(contrast, mixed.ESTIMATOR, _count(both))
    return [*holm(found).values()]


@dataclass(frozen=True, kw_only=True)
class MatchedChange:
    """Ratios at the same clean loss (or accuracy): purified to before, before to benign, purified
    to benign. None where too few models could be compared. left_out: how many models before, and
    how many purified ones, are outside the benign reference's range low to high.
    """

    measure: str
    by: str
    after_to_before: Estimate | None
    before_to_benign: Estimate | None
    after_to_benign: Estimate | None
    left_out: tuple[int, int]
    low: float
    high: float
    told: str


def change_at_matched(
    reference: pd.DataFrame,
    before: pd.DataFrame,
    after: pd.DataFrame,
    measure: str,
    *,
    by: str = "loss",
    knots: int = KNOTS,
) -> MatchedChange:
    """The change that is not one of clean loss (`by="loss"`) or clean accuracy (`by="ca"`).

        log m = curve(by) + b [backdoored] + c [purified] + u_attack + v_attack [purified]
                + w_training + z_training [purified] + e

    The curve is a natural cubic spline through benign models and their checkpoints. reference:
    seed, step, `by` and the measure; before and after as in `changes`, with `by`. Raises
    ValueError as those do.
    """
    if by not in SCALES:
        raise ValueError(f"Models are matched by {' or '.join(SCALES)}, not by {by}.")
    positive = (measure, "loss") if by == "loss" else (measure,)
    shares = ("ca",) if by == "ca" else ()
    told = {"positive": positive, "fractions": shares}
    reference = checked(reference, "the reference", keys=("seed", "step"), **told)
    before = checked(before, "models before", keys=BEFORE, **told)
    after = checked(after, "purified models", keys=AFTER, **told)
    _paired(before, after, [measure])
    curve = Curve.of(_scaled(reference, by), labels(reference, "seed"), knots)
    kept_before, kept_after = (
        frame[curve.covers(_scaled(frame, by))].reset_index(drop=True) for frame in (before, after)
    )
    left_out = (len(before) - len(kept_before), len(after) - len(kept_after))
    low, high = (_unscaled(end, by) for end in (curve.low, curve.high))
    words = (
        f"{len(kept_before)} of {len(before)} models and {len(kept_after)} of {len(after)} "
        f"purified ones are in the range of {by} that benign trainings reach ({low:.3g} to "
        f"{high:.3g})"
    )
    if min(kept_before["attack"].nunique(), kept_after["attack"].nunique()) < 2:
        found: tuple[Estimate | None, ...] = (None, None, None)
        words += "; too few to compare, and the curve is not drawn on beyond its range"
    else:
        found = _matched(reference, kept_before, kept_after, measure, by, curve)
    return MatchedChange(
        measure=measure,
        by=by,
        after_to_before=found[0],
        before_to_benign=found[1],
        after_to_benign=found[2],
        left_out=left_out,
        low=low,
        high=high,
        told=words + ".",
    )


def _matched(
    reference: pd.DataFrame,
    before: pd.DataFrame,
    after: pd.DataFrame,
    measure: str,
    by: str,
    curve: Curve,
) -> tuple[Estimate, ...]:
    models = np.concatenate([_scaled(before, by), _scaled(after, by)])
    reference = reference[curve.near(_scaled(reference, by), models)]
    rows = pd.concat(
        [
            reference.assign(attack=BENIGN, purified=False),
            before.assign(purified=False),
            after.assign(purified=True),
        ],
        ignore_index=True,
    )
    attack, training = (
        labels(rows, *columns).astype(str) for columns in (("attack",), ("attack", "seed"))
    )
    backdoored, purified = attack != BENIGN, rows["purified"].to_numpy(bool)
    design = np.column_stack(
        [
            backdoored.astype(float),
            purified.astype(float),
            np.ones(len(rows)),
            curve.basis(_scaled(rows, by)),
        ]
    )
    random = {
        "attack": mixed.groups(attack, backdoored),
        "attack, purified": mixed.groups(attack, purified),
        "training": mixed.groups(training),
        "training, purified": mixed.groups(training, purified),
    }
    y = np.log(rows[measure].to_numpy(float))
    fitted = mixed.fit(y, design, mixed.identifiable(design, random))
    estimator = f"{mixed.ESTIMATOR}, natural spline of {by}"
    count = _count(after, benign=reference["seed"].nunique())
    unit = np.eye(design.shape[1])
    return tuple(
        _estimate(fitted.contrast(weights), estimator, count)
        for weights in (unit[1], unit[0], unit[0] + unit[1])
    )


def _paired(before: pd.DataFrame, after: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """`after` with `<measure>_before` beside it."""
    named = before.rename(columns={measure: f"{measure}_before" for measure in measures})
    both = after.merge(
        named[[*BEFORE, *(f"{measure}_before" for measure in measures)]], on=[*BEFORE], how="left"
    )
    alone = both[both[f"{measures[0]}_before"].isna()]
    if len(alone):
        row = alone.iloc[0]
        raise ValueError(
            f"{row['attack']} seed {row['seed']} was purified, and not measured before."
        )
    if both["attack"].nunique() < 2:
        raise ValueError("One attack: at least 2 are needed to tell an effect from chance.")
    return both


def _count(after: pd.DataFrame, benign: int = 0) -> Count:
    """The least number of purification seeds that a model has."""
    by_model = after.groupby(["attack", "seed"])["purification_seed"].nunique()
    return Count(
        attacks=after["attack"].nunique(),
        models=len(by_model),
        benign=benign,
        purification_seeds=int(by_model.min()),
    )


def _estimate(found: mixed.Contrast, estimator: str, count: Count) -> Estimate:
    return from_t(found.value, found.stderr, found.df, estimator=estimator, count=count, ratio=True)


def _scaled(frame: pd.DataFrame, by: str) -> mixed.Array:
    return np.asarray(SCALES[by](frame[by].to_numpy(float)))


def _unscaled(value: float, by: str) -> float:
    return float(np.exp(value)) if by == "loss" else value / 20
