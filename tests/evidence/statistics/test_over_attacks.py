"""A mean over attacks counts models, not purifications."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from evidence.statistics.over_attacks import difference, mean, paired


def frame(values: dict[tuple[str, int], list[float]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"attack": attack, "seed": seed, "purification_seed": k, "asr": value}
            for (attack, seed), of in values.items()
            for k, value in enumerate(of)
        ]
    )


def test_of_one_attack_it_is_the_t_interval_over_models():
    found = mean(frame({("a", 0): [0.1, 0.3], ("a", 1): [0.5, 0.5], ("a", 2): [0.4, 0.2]}), "asr")
    means = [0.2, 0.5, 0.3]
    low, high = stats.t.interval(0.95, 2, np.mean(means), stats.sem(means))
    assert (found.value, found.low, found.high) == pytest.approx((np.mean(means), low, high))
    assert str(found.count) == "n = 1 attack, 3 models, 2 purification seeds"


def test_balanced_attacks_count_once_each():
    """With models nested in attacks, the interval of a balanced design is that of the attacks'
    means (where attacks differ by more than their models make them).
    """
    values = {
        (attack, seed): [at + 0.01 * (seed - 1)]
        for attack, at in (("a", 0.1), ("b", 0.3), ("c", 0.8))
        for seed in range(3)
    }
    found = mean(frame(values), "asr")
    attacks = [0.1, 0.3, 0.8]
    low, high = stats.t.interval(0.95, 2, np.mean(attacks), stats.sem(attacks))
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


def test_more_purification_seeds_are_no_more_models():
    few = {("a", seed): [0.1 * seed] for seed in range(4)}
    many = {key: of * 20 for key, of in few.items()}
    one, other = mean(frame(few), "asr"), mean(frame(many), "asr")
    assert (one.low, one.high) == pytest.approx((other.low, other.high))


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_models_that_do_not_differ_within_attacks(noise: float):
    rng = np.random.default_rng(0)
    values = {
        (attack, seed): list(at + noise * rng.standard_normal(3))
        for attack, at in (("a", 0.2), ("b", 0.4), ("c", 0.3))
        for seed in range(3)
    }
    found = mean(frame(values), "asr")
    assert found.value == pytest.approx(0.3, abs=0.02)
    assert found.low < found.value < found.high
    same = mean(frame({("a", 0): [0.2, 0.2], ("b", 0): [0.2]}), "asr")
    assert (same.low, same.high, same.p) == (0.2, 0.2, None)


def test_too_few_models_have_no_interval():
    assert mean(frame({("a", 0): [0.1, 0.2]}), "asr") is None
    assert mean(frame({}), "asr") is None


def test_a_difference_is_of_the_same_models_and_seeds():
    one = frame({("a", 0): [0.1, 0.2], ("a", 1): [0.3, 0.3], ("a", 2): [0.9]})
    other = frame({("a", 0): [0.4, 0.6], ("a", 1): [0.5]})
    both = paired(one, other, ["asr"])
    assert both["asr"].to_list() == pytest.approx([-0.3, -0.4, -0.2])
    found = difference(one, other, "asr")
    assert found.value == pytest.approx((-0.35 - 0.2) / 2)
    assert (found.count.models, found.count.purification_seeds) == (2, 1)


def test_a_value_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="has no finite asr"):
        mean(frame({("a", 0): [0.1], ("a", 1): [float("nan")]}), "asr")


@pytest.mark.slow
def test_intervals_hold_as_often_as_they_say():
    """4 attacks of 3 models: of 95 % intervals, 90 to 99 % hold the truth."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        values = {}
        for attack in "abcd":
            of_attack = 0.1 * rng.standard_normal()
            for seed in range(3):
                of_model = 0.1 * rng.standard_normal()
                values[attack, seed] = list(of_attack + of_model + 0.1 * rng.standard_normal(2))
        found = mean(frame(values), "asr")
        held += found.low <= 0 <= found.high
    assert 0.90 <= held / 200 <= 0.99
