"""Quantiles and their errors, against simulation and scipy."""

from __future__ import annotations

import numpy as np
from scipy.stats import mstats, norm

from analysis.quantiles import LEVELS, quantiles


def test_the_error_is_the_scatter_over_samples():
    """On a distribution that spans powers of ten, as curvature does."""
    rng = np.random.default_rng(0)
    samples = np.exp(2 * rng.standard_normal((800, 200)))
    levels = np.array([0.1, 0.5, 0.9])
    found = [quantiles(sample, levels) for sample in samples]
    scatter = np.std([f.value for f in found], axis=0)
    told = np.mean([f.stderr for f in found], axis=0)
    np.testing.assert_allclose(told, scatter, rtol=0.15)
    true = np.exp(2 * norm.ppf(levels))
    covered = [np.abs(f.value[1] - true[1]) <= 1.96 * f.stderr[1] for f in found]
    assert 0.90 <= np.mean(covered) <= 0.99


def test_it_agrees_with_scipy():
    sample = np.random.default_rng(1).standard_normal(400)
    middle = LEVELS[4:-4]  # Maritz and Jarrett's error is another estimate of the same number
    found = quantiles(sample, middle)
    np.testing.assert_allclose(found.value, np.quantile(sample, middle))
    np.testing.assert_allclose(found.stderr, mstats.mjci(sample, middle), rtol=0.6)
    np.testing.assert_allclose(found.stderr.mean(), np.mean(mstats.mjci(sample, middle)), rtol=0.1)


def test_a_single_number_has_no_scatter_of_its_own():
    found = quantiles(np.array([3.0]))
    assert (found.value == 3).all() and (found.stderr == 0).all()
