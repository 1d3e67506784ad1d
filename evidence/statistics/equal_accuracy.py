"""What a method leaves of the attack success rate (ASR) at an equal drop of clean accuracy (CA).

The points of one method on one model, from weak to strong, are joined by straight lines in the
plane of CA drop and ASR. The ASR at a drop is where that line first crosses it. Nothing is drawn on
beyond the points: a method that never loses so much, or always loses more, has no such ASR.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evidence.statistics.spreads import Spreads, spreads
from evidence.statistics.tables import checked

DROPS = (0.01, 0.02)  # of clean accuracy: one point and two
KEYS = ("method", "attack", "seed", "purification_seed", "strength")
LOSES_LESS, LOSES_MORE = "never loses so much", "always loses more"


def asr_at_drop(drops: Sequence[float], asr: Sequence[float], at: float) -> float | None:
    """The ASR where the line through the points, in their order, first has this drop; None where
    no two neighboring points enclose it. drops: of CA, fractions, negative for a gain.
    """
    if len(drops) != len(asr) or not len(drops):
        raise ValueError(f"{len(drops)} drops and {len(asr)} success rates: one each is needed.")
    for k, drop in enumerate(drops):
        if drop == at:
            return float(asr[k])
        if k + 1 < len(drops) and (drop - at) * (drops[k + 1] - at) < 0:
            share = (at - drop) / (drops[k + 1] - drop)
            return float(asr[k] + share * (asr[k + 1] - asr[k]))
    return None


def at_equal_accuracy(points: pd.DataFrame, drops: Sequence[float] = DROPS) -> pd.DataFrame:
    """A row per method, model, purification seed and drop: `asr` (None where there is none, with
    `why_not`), and `least_within`, the lowest ASR measured at a drop up to this one (None: no
    point is so gentle).

    points: method, attack, seed, purification_seed, strength (the sweep's option, rising), ca, asr
    and ca_before, of the same images.
    """
    points = checked(points, "points", keys=KEYS, fractions=("ca", "asr", "ca_before"))
    rows = []
    for key, of in points.groupby([*KEYS[:-1]], sort=True):
        of = of.sort_values("strength")
        # Rounded to what rates of a million images can differ by: 0.93 - 0.92 is not 0.01.
        lost = np.round((of["ca_before"] - of["ca"]).to_numpy(float), 9)
        asr = of["asr"].to_numpy(float)
        for drop in drops:
            within = asr[lost <= drop]
            found = asr_at_drop([*lost], [*asr], drop)
            why_not = None if found is not None else _why_not(lost, drop)
            rows.append(
                dict(zip(KEYS[:-1], key))
                | {"drop": drop, "asr": found, "why_not": why_not}
                | {"least_within": float(within.min()) if len(within) else None}
            )
    return pd.DataFrame(rows)


def _why_not(lost: np.ndarray, drop: float) -> str:
    return LOSES_LESS if lost.max() < drop else LOSES_MORE


@dataclass(frozen=True, kw_only=True)
class AtDrop:
    """left: mean ASR and both spreads, over the models and purification seeds that reach the drop
    (None: none does). reached, of: how many purification seeds of how many; where fewer than all,
    `left` is of a selection. never, always: how many never lose so much, and always lose more.
    """

    method: str
    drop: float
    left: Spreads | None
    reached: int
    of: int
    never: int
    always: int


def summary(points: pd.DataFrame, drops: Sequence[float] = DROPS) -> list[AtDrop]:
    """One per method and drop. points: as in `at_equal_accuracy`, of one attack or of several."""
    out = []
    every = at_equal_accuracy(points, drops)
    for method, drop in every[["method", "drop"]].drop_duplicates().itertuples(index=False):
        of = every[(every["method"] == method) & (every["drop"] == drop)]
        reached = of[of["asr"].notna()]
        out.append(
            AtDrop(
                method=str(method),
                drop=drop,
                left=spreads(reached.astype({"asr": float}), "asr") if len(reached) else None,
                reached=len(reached),
                of=len(of),
                never=int((of["why_not"] == LOSES_LESS).sum()),
                always=int((of["why_not"] == LOSES_MORE).sum()),
            )
        )
    return out


def sentence(found: AtDrop) -> str:
    told = f"{found.method} at a drop of {100 * found.drop:g} points of clean accuracy"
    missed = []
    if found.never:
        missed.append(f"{found.never} never lose so much")
    if found.always:
        missed.append(f"{found.always} always lose more")
    rest = f" Reached by {found.reached} of {found.of} purifications"
    rest += f" ({', '.join(missed)})." if missed else "."
    if found.left is None:
        return f"{told}: no attack success rate.{rest}"
    left, count = found.left, found.left.count
    within = "not known" if left.between_seeds is None else f"{100 * left.between_seeds:.1f} points"
    between = (
        "not known" if left.between_models is None else f"{100 * left.between_models:.1f} points"
    )
    return (
        f"{told}: {100 * left.value:.1f} % attack success rate is left (standard deviation between "
        f"models {between}, between purification seeds of one model {within}; {count}).{rest}"
    )
