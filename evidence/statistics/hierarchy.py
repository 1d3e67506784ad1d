"""Are backdoored models sharper than benign ones? One hierarchical model for each measure.

    log m = mean + effect [backdoored] + u_attack [backdoored] + v_seed + w [benign] + e

u: how attacks differ; v: what models of one seed share (its draw of training images and initial
weights); w: what benign models may spread more than those of one attack; e: the rest. All benign
models are one population, used once: the error of its mean is in every comparison, and no pair of
models is counted as independent. The effect is that of an attack drawn from the population of
attacks; per attack it is shrunken towards it (empirical best linear prediction). p-values are
Holm's over measures. "All measures" is the same model of the geometric mean of a model's measures:
the mean effect, whatever the correlation between measures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from evidence.statistics import mixed
from evidence.statistics.estimates import Count, Estimate, from_t, holm
from evidence.statistics.tables import BENIGN, both_populations, checked, labels

TOGETHER = "all measures"


@dataclass(frozen=True, kw_only=True)
class Effect:
    """overall: backdoored / benign over attacks, as a ratio. attacks: the same for each attack,
    shrunken. between_attacks: the standard deviation of attacks, as a factor (1: none).
    """

    measure: str
    overall: Estimate
    attacks: dict[str, Estimate]
    between_attacks: float


def effects(
    models: pd.DataFrame, measures: Sequence[str], *, together: bool = True
) -> list[Effect]:
    """One effect per measure, in order, then (`together`) that of all measures at once.

    models: a row per model, columns `attack` (`none`: benign), `seed` and the measures, above 0.
    Raises ValueError for what `tables.checked` refuses and for fewer than 2 attacks or 3 benign
    models.
    """
    if not measures:
        raise ValueError("No measure is named.")
    models = checked(models, "models", keys=("attack", "seed"), positive=measures)
    both_populations(models)
    logs = {measure: np.log(models[measure].to_numpy(dtype=float)) for measure in measures}
    found = {measure: _effect(models, measure, of) for measure, of in logs.items()}
    adjusted = holm({measure: effect.overall for measure, effect in found.items()})
    out = [replace(effect, overall=adjusted[measure]) for measure, effect in found.items()]
    if together and len(measures) > 1:
        out.append(_effect(models, TOGETHER, np.mean([*logs.values()], axis=0)))
    return out


def _effect(models: pd.DataFrame, measure: str, y: mixed.Array) -> Effect:
    attack = labels(models, "attack")
    backdoored = attack != BENIGN
    names = np.unique(attack[backdoored].astype(str))
    design = np.column_stack([np.ones(len(y)), backdoored.astype(float)])
    random = {"attack": mixed.groups(attack.astype(str), backdoored)}
    # Without this, benign models that spread twice as far give intervals that hold in 85 %.
    random["benign"] = mixed.groups(np.arange(len(y)), ~backdoored)
    random["seed"] = mixed.groups(labels(models, "seed").astype(str))
    fitted = mixed.fit(y, design, mixed.identifiable(design, random))
    benign = int((~backdoored).sum())
    count = Count(attacks=len(names), models=int(backdoored.sum()), benign=benign)

    def estimate(found: mixed.Contrast, count: Count) -> Estimate:
        return from_t(
            found.value,
            found.stderr,
            found.df,
            estimator=mixed.ESTIMATOR,
            count=count,
            ratio=True,
        )

    def one(level: int, name: str) -> Estimate:
        of = Count(attacks=1, models=int((attack == name).sum()), benign=benign)
        return estimate(fitted.predicted([0, 1], "attack", level), of)

    variances = dict(zip(fitted.random, fitted.variances))
    return Effect(
        measure=measure,
        overall=estimate(fitted.contrast([0, 1]), count),
        attacks={str(name): one(level, name) for level, name in enumerate(names)},
        between_attacks=float(np.exp(np.sqrt(variances.get("attack", 0.0)))),
    )


def table(found: Sequence[Effect]) -> pd.DataFrame:
    """A row per measure and attack (`attack` is `all attacks` for the overall effect)."""
    rows = [
        {"measure": effect.measure, "attack": attack, **one.to_json()}
        for effect in found
        for attack, one in {"all attacks": effect.overall, **effect.attacks}.items()
    ]
    return pd.DataFrame(rows)
