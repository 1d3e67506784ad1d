"""Curves drawn from a spectrum."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.curvature.density import smooth


def test_smoothing_keeps_the_mass():
    nodes, weights = np.array([3.0, -1.0, 1.0]), np.array([0.25, 0.5, 0.25])
    grid = np.linspace(-10, 10, 2001)
    assert abs(np.trapezoid(smooth(nodes, weights, grid, 0.2), grid) - 1) < 1e-9
    with pytest.raises(ValueError, match="width"):
        smooth(nodes, weights, grid, 0.0)
