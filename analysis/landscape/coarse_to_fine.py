"""In which order points are measured: a coarse picture first, then what lies between."""

from __future__ import annotations

import itertools


def levels(points: int, stride: int, center: int = 0) -> list[list[int]]:
    """Indices 0 ... points - 1 on each level, ascending; both ends are on every level.

    stride: a power of two. The first level has the points a multiple of it away from `center`, each
        further one halves it, and the last level has all points.
    """
    out = []
    while stride:
        out.append([k for k in range(points) if (k - center) % stride == 0 or k in (0, points - 1)])
        stride //= 2
    return out


def order(points: int, stride: int) -> list[int]:
    """Each index once: both ends, then level by level, counted from 0."""
    return list(dict.fromkeys([0, points - 1, *itertools.chain(*levels(points, stride))]))
