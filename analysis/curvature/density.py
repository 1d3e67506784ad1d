"""Spectral densities for readers: smooth curves and distances from nodes and weights. NumPy
only.
"""

from __future__ import annotations

import numpy as np


def smooth(nodes: np.ndarray, weights: np.ndarray, grid: np.ndarray, width: float) -> np.ndarray:
    """The density at `grid` (G,) as a sum of Gaussians of standard deviation `width` around `nodes`
    (M,).

    The width is the reader's choice and belongs on the axis label; about 1 % of the range is usual.
    """
    if width <= 0:
        raise ValueError(f"width = {width} is out of range. Allowed: more than 0.")
    z = (np.asarray(grid)[:, None] - np.asarray(nodes)[None, :]) / width  # (G, M)
    return np.exp(-0.5 * z**2) @ np.asarray(weights) / (width * np.sqrt(2 * np.pi))


def cumulative(nodes: np.ndarray, weights: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Share of eigenvalues at or below each point of `grid`; needs no smoothing."""
    order = np.argsort(nodes)
    sums = np.concatenate([[0.0], np.cumsum(np.asarray(weights)[order])])
    return sums[np.searchsorted(np.asarray(nodes)[order], grid, side="right")]


def wasserstein(
    nodes: np.ndarray, weights: np.ndarray, others: np.ndarray, other_weights: np.ndarray
) -> float:
    """Area between the two cumulative distributions, in units of the eigenvalues."""
    grid = np.sort(np.concatenate([nodes, others]))
    gap = cumulative(nodes, weights, grid) - cumulative(others, other_weights, grid)
    return float((np.abs(gap[:-1]) * np.diff(grid)).sum())
