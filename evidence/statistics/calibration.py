"""A probability for each model by a rule that has not seen its attack, how far such probabilities
can be believed, and the band of them where nothing should be said.

Benign models and attacks weigh the same on both sides, as in `evidence.statistics.detector`: each
number is a mean over attacks, of half its benign models and half its backdoored ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evidence.statistics.detector import Fold

Array = NDArray[np.float64]
Calls = NDArray[np.bool_]
WRONG = 0.05  # share of either kind that may be called the other
BINS = 5


@dataclass(frozen=True)
class Guess:
    """Probabilities of one fold: of the attack that was left out, and of the benign part."""

    attack: str
    ours: Array
    theirs: Array
    mine: NDArray[np.intp]
    part: NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """brier: mean squared error of the probability; 0.25 is a coin. ece: expected calibration
    error, over equal bins. bins: (lowest, highest, mean probability, share backdoored, weight).
    band: below its low end a model is called benign, above its high end backdoored; it is chosen on
    all folds. wrong, silent, right: shares of cross-fitted answers, whose band has seen neither the
    attack nor the benign part; false_alarms: benign models called backdoored; missed: backdoored
    ones called benign; silent_by: share without an answer of each attack, and of `none`; found_by:
    share of each attack called backdoored.
    """

    brier: float
    ece: float
    bins: tuple[tuple[float, float, float, float, float], ...]
    band: tuple[float, float]
    wrong: float
    silent: float
    right: float
    false_alarms: float
    missed: float
    silent_by: dict[str, float]
    found_by: dict[str, float]


def guesses(folds: Iterable[Fold]) -> list[Guess]:
    """The probability of each score: log odds are score and intercept."""
    return [
        Guess(
            one.attack,
            _sigmoid(one.ours + one.rule.intercept),
            _sigmoid(one.theirs + one.rule.intercept),
            one.mine,
            one.part,
        )
        for one in folds
    ]


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -60, 60))))


def weighed(of: Sequence[Guess]) -> tuple[Array, NDArray[np.bool_], Array]:
    """All probabilities (n,), which are of backdoored models, and their weights, of sum 1."""
    attacks = sorted({one.attack for one in of})
    p, positive, weight = [], [], []
    for name in attacks:
        own = [one for one in of if one.attack == name]
        for values, is_attack in (
            (np.concatenate([one.ours for one in own]), True),
            (np.concatenate([one.theirs for one in own]), False),
        ):
            p.append(values)
            positive.append(np.full(len(values), is_attack))
            weight.append(np.full(len(values), 0.5 / len(attacks) / len(values)))
    return np.concatenate(p), np.concatenate(positive), np.concatenate(weight)


def band_of(of: Sequence[Guess], wrong: float = WRONG) -> tuple[float, float]:
    """(low, high): the largest low that at most this share of backdoored models lies at or below,
    the smallest high that at most this share of benign ones lies at or above; on its own side of
    1/2 each.
    """
    p, positive, weight = weighed(of)
    low = _below(p[positive], weight[positive], wrong)
    high = 1 - _below(1 - p[~positive], weight[~positive], wrong)
    return min(low, 0.5), max(high, 0.5)


def _below(p: Array, weight: Array, wrong: float) -> float:
    """The largest level that at most a share `wrong` of the weight lies at or below: half way
    between two probabilities in log odds.
    """
    order = np.argsort(p, kind="stable")
    share = np.cumsum(weight[order]) / weight.sum()
    kept = int(np.searchsorted(share, wrong + 1e-12, side="right"))  # those that may lie below
    levels = np.log(np.clip(p[order], 1e-12, 1 - 1e-12) / (1 - np.clip(p[order], 1e-12, 1 - 1e-12)))
    before = levels[kept - 1] if kept else levels[0] - 1
    return float(_sigmoid(np.array((before + levels[min(kept, len(levels) - 1)]) / 2)))


def calibration(of: Sequence[Guess], *, wrong: float = WRONG, bins: int = BINS) -> Calibration:
    """Raises ValueError when there are fewer than 2 attacks or parts of the benign models."""
    attacks = sorted({one.attack for one in of})
    parts = {tuple(one.part) for one in of}
    if len(attacks) < 2 or len(parts) < 2:
        raise ValueError("A band is judged on attacks and benign models that it has not seen.")
    p, positive, weight = weighed(of)
    found: dict[str, list[Calls]] = {name: [] for name in attacks}
    lost: dict[str, list[Calls]] = {name: [] for name in attacks}
    alarms: list[Calls] = []
    cleared: list[Calls] = []
    for one in of:
        low, high = band_of([other for other in of if _apart(one, other)], wrong)
        found[one.attack].append(one.ours >= high)
        lost[one.attack].append(one.ours <= low)
        alarms.append(one.theirs >= high)
        cleared.append(one.theirs <= low)
    found_by = {name: _share(called) for name, called in found.items()}
    lost_by = {name: _share(called) for name, called in lost.items()}
    right, missed = float(np.mean([*found_by.values()])), float(np.mean([*lost_by.values()]))
    false_alarms, calm = _share(alarms), _share(cleared)
    silent_by = {name: 1 - found_by[name] - lost_by[name] for name in attacks}
    binned = _binned(p, positive, weight, bins)
    return Calibration(
        brier=float(weight @ (p - positive) ** 2),
        ece=float(sum(total * abs(mean - share) for _, _, mean, share, total in binned)),
        bins=tuple(binned),
        band=band_of(of, wrong),
        wrong=(false_alarms + missed) / 2,
        silent=1 - (false_alarms + missed + calm + right) / 2,
        right=(calm + right) / 2,
        false_alarms=false_alarms,
        missed=missed,
        silent_by={**silent_by, "none": 1 - false_alarms - calm},
        found_by=found_by,
    )


def _apart(one: Guess, other: Guess) -> bool:
    """Whether neither the attack nor the benign part of one fold is that of the other."""
    return one.attack != other.attack and tuple(one.part) != tuple(other.part)


def _share(called: Sequence[Calls]) -> float:
    return float(np.mean(np.concatenate(called)))


def _binned(
    p: Array, positive: NDArray[np.bool_], weight: Array, bins: int
) -> list[tuple[float, float, float, float, float]]:
    rows = []
    place = np.minimum((p * bins).astype(int), bins - 1)
    for i in range(bins):
        inside = place == i
        if inside.any():
            total = weight[inside].sum()
            mean = weight[inside] @ p[inside] / total
            share = weight[inside] @ positive[inside] / total
            rows.append((i / bins, (i + 1) / bins, float(mean), float(share), float(total)))
    return rows
