"""Rank correlations against scipy, and models drawn as a whole."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from evidence.statistics.ranking import overall, spearman, within

MODELS = np.repeat(["a", "b", "c", "d", "e", "f"], 4)


def numbers(noise: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = rng.random(len(MODELS)).round(1)  # with ties
    return y + noise * rng.normal(size=len(y)), y


def test_spearman_with_ties_is_scipy_s():
    x, y = numbers(0.3)
    assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic)
    assert spearman(x, np.ones_like(x)) is None


def test_what_ranks_perfectly_has_no_spread_and_what_does_not_has():
    x, y = numbers(0.0)
    perfect = overall(x, y, MODELS)
    assert (perfect.value, perfect.low, perfect.high) == pytest.approx((1, 1, 1))
    x, y = numbers(0.3)
    found = overall(x, y, MODELS)
    assert found.low < found.value < found.high < 1 and found.models == 6


def test_within_models_their_levels_do_not_count():
    """Each model ranks backwards, though models with higher numbers have higher ones of both."""
    level = 10.0 * np.repeat(np.arange(6), 4)
    step = np.tile(np.arange(4.0), 6)
    assert overall(level + step, level - step, MODELS).value > 0.8
    assert within(level + step, level - step, MODELS).value == pytest.approx(-1)


def test_models_that_rank_nothing_are_left_out():
    x, y = numbers(0.3)
    y[:4] = 0.5
    found = within(x, y, MODELS)
    assert found.models == 5
    each = [spearmanr(x[i : i + 4], y[i : i + 4]).statistic for i in range(4, 24, 4)]
    assert found.value == pytest.approx(np.mean(each))
    assert within(x, np.ones_like(x), MODELS).value is None
