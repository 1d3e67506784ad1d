"""Bootstrap weights keep populations and clusters together."""

from __future__ import annotations

import numpy as np
import pytest

from evidence.statistics.resampling import least_squares, weights

ATTACKS = np.array(["none", "none", "none", "a", "a", "b", "c"], dtype=object)


def test_benign_models_and_attacks_are_drawn_apart():
    drawn = weights(ATTACKS, np.random.default_rng(0), 4000)
    assert (drawn[:, :3].sum(1) == 3).all()
    assert (drawn[:, 3] == drawn[:, 4]).all(), "an attack comes with all its models"
    assert (drawn[:, [3, 5, 6]].sum(1) == 3).all()
    assert drawn.mean(0) == pytest.approx(1, abs=0.05)


def test_weighted_least_squares_is_that_of_repeated_rows():
    rng = np.random.default_rng(1)
    design, y = np.column_stack([np.ones(7), rng.normal(size=7)]), rng.normal(size=7)
    weight = np.array([[1.0, 2, 1, 0, 1, 1, 3]])
    rows = np.repeat(np.arange(7), weight[0].astype(int))
    theirs = np.linalg.lstsq(design[rows], y[rows], rcond=None)[0]
    assert least_squares(y, design, weight)[0] == pytest.approx(theirs)
