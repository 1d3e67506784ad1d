"""The curve of benign models: its range, and its spline against patsy's."""

from __future__ import annotations

import numpy as np
import pytest
from patsy import dmatrix

from evidence.statistics.reference import Curve


def test_the_spline_spans_what_patsys_does():
    x = np.sort(np.random.default_rng(0).uniform(-4, -1, 40))
    training = np.tile([0, 1, 2, 3], 10)
    curve = Curve.of(x, training)
    assert len(curve.knots) == 4
    ours = np.column_stack([np.ones(40), curve.basis(x)])
    low, *inner, high = curve.knots
    theirs = np.asarray(
        dmatrix(
            "cr(x, knots=inner, lower_bound=low, upper_bound=high) - 1",
            {"x": x, "inner": inner, "low": low, "high": high},
        )
    )
    y = np.sin(2 * x)
    inside = curve.covers(x)  # beyond the knots patsy's is straight too
    fits = [basis @ np.linalg.lstsq(basis, y, rcond=None)[0] for basis in (ours, theirs)]
    assert fits[0][inside] == pytest.approx(fits[1][inside], abs=1e-8)
    assert ours.shape == theirs.shape


def test_beyond_its_knots_it_is_straight():
    curve = Curve(0.0, 3.0, (0.0, 1.0, 2.0, 3.0))
    beyond = curve.basis(np.array([4.0, 5.0, 6.0]))
    assert np.diff(beyond, 2, axis=0) == pytest.approx(0, abs=1e-9)
    assert Curve(0.0, 1.0, (0.0, 1.0)).basis(np.array([0.5]))[0] == pytest.approx([0.5])


def test_its_range_is_not_one_trainings_alone():
    x = np.array([0.0, 9, 2, 8, 3, 7.0])
    curve = Curve.of(x, np.array([0, 0, 1, 1, 2, 2]))
    assert (curve.low, curve.high) == (2, 8)
    assert curve.covers(np.array([1.9, 2, 8, 8.1])).tolist() == [False, True, True, False]
    assert curve.near(x, np.array([2.5, 7.0])).tolist() == [False, False, True, False, True, True]
    with pytest.raises(ValueError, match="2 benign trainings"):
        Curve.of(x[:4], np.array([0, 0, 1, 1]))
