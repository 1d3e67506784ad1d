"""Probabilities by rules that have not seen the attack, and the band where nothing is said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evidence.statistics import detector
from evidence.statistics.calibration import Guess, band_of, calibration, guesses, weighed


def fold(attack: str, ours: list[float], theirs: list[float], part: list[int]) -> Guess:
    places = np.arange(len(ours))
    return Guess(attack, np.array(ours), np.array(theirs), places, np.array(part))


SURE = [
    fold(attack, [0.9, 0.95], [0.1, 0.2], part)
    for attack in ("a", "b", "c")
    for part in ([0, 1], [2, 3])
]


def test_both_kinds_and_all_attacks_weigh_the_same():
    many = [*SURE, fold("d", [0.5] * 50, [0.5], [0]), fold("d", [0.5] * 50, [0.5], [2])]
    p, positive, weight = weighed(many)
    assert weight.sum() == pytest.approx(1) and weight[positive].sum() == pytest.approx(0.5)
    assert weight[p == 0.5].sum() == pytest.approx(0.25)


def test_what_is_told_apart_needs_no_band():
    assert band_of(SURE) == (0.5, 0.5)
    found = calibration(SURE)
    assert (found.wrong, found.silent, found.right) == (0, 0, 1)
    assert found.brier == pytest.approx((0.1**2 + 0.05**2 + 0.1**2 + 0.2**2) / 4)
    assert found.ece == pytest.approx((0.075 + 0.15) / 2)


def test_a_band_holds_back_as_many_as_may_be_wrong():
    """A benign model of four at 0.8 is more than one in twenty: the high end is above it."""
    doubt = [
        fold(attack, [0.9, 0.95], theirs, part)
        for attack in ("a", "b", "c")
        for theirs, part in (([0.1, 0.8], [0, 1]), ([0.1, 0.2], [2, 3]))
    ]
    low, high = band_of(doubt)
    assert low == 0.5 and high > 0.8
    assert band_of(doubt, wrong=0.25) == (0.5, 0.5)


def test_an_attack_that_nobody_has_seen_is_missed_and_said_so():
    """The band of the other attacks does not foresee it."""
    hidden = [*SURE, fold("d", [0.15, 0.9], [0.1, 0.2], [0, 1]), fold("d", [0.15, 0.9], [0.1], [2])]
    found = calibration(hidden)
    assert found.found_by == {"a": 1, "b": 1, "c": 1, "d": 0.5}
    assert found.missed == pytest.approx(0.5 / 4) and found.false_alarms == 0
    assert found.band[0] < 0.15, "with all known, such a model would not be called benign"


def test_a_band_needs_attacks_and_benign_models_that_it_has_not_seen():
    with pytest.raises(ValueError, match="has not seen"):
        calibration(SURE[:2])
    with pytest.raises(ValueError, match="has not seen"):
        calibration(SURE[::2])


def test_probabilities_of_a_normal_model_are_calibrated_and_of_noise_silent():
    rng = np.random.default_rng(0)

    def models(shift: float) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "attack": ["none"] * 60 + [name for name in "abcdef" for _ in range(10)],
                "seed": [*range(60), *[seed for _ in "abcdef" for seed in range(10)]],
                "u": rng.normal(np.repeat([0, shift], 60)),
                "v": rng.normal(size=120),
            }
        )

    def judged(shift: float):
        return calibration(guesses(detector.folds_of(models(shift), ["u", "v"], logs=False)))

    clear, noise = judged(4.0), judged(0.0)
    assert clear.ece < 0.1 and clear.brier < 0.05 and clear.right > 0.9
    assert noise.silent > 0.7 and noise.wrong < 0.2
    assert 0.2 < noise.brier < 0.3
