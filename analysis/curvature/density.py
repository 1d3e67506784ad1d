"""Spectral densities for readers: smooth curves from nodes and weights. NumPy only."""

from __future__ import annotations

import numpy as np


def smooth(nodes: np.ndarray, weights: np.ndarray, grid: np.ndarray, width: float) -> np.ndarray:
    """The density at `grid` as a sum of Gaussians around `nodes`: (G,), in units of 1 / eigenvalue.

    nodes, weights: (M,), as a measurement of a spectrum gives them.
    grid: (G,), eigenvalues.
    width: standard deviation of the Gaussians. It is the reader's choice and belongs on the axis
        label; about 1 % of the range is usual.

    Raises ValueError for a width that is not positive.
    """
    if width <= 0:
        raise ValueError(f"width = {width} is out of range. Allowed: more than 0.")
    z = (np.asarray(grid)[:, None] - np.asarray(nodes)[None, :]) / width  # (G, M)
    return np.exp(-0.5 * z**2) @ np.asarray(weights) / (width * np.sqrt(2 * np.pi))
