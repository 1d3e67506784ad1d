"""Curves with more points than a screen has pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

EXACT = 2000  # points that a curve may have
COLUMNS = 800  # of pixels, about the width of a chart


def per_pixel(x: Sequence[Any], y: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """The points of a curve along ascending `x`; of more than `EXACT` of them, the first, the last,
    and the lowest and the highest in each of `COLUMNS` columns, between which nothing else shows.
    """
    if len(x) <= EXACT:
        return list(x), list(y)
    start, scale = x[0], COLUMNS / ((x[-1] - x[0]) or 1)
    ends: dict[int, list[int]] = {}  # column -> the places of its lowest and its highest point
    for place, value in enumerate(y):
        low_high = ends.setdefault(int((x[place] - start) * scale), [place, place])
        if value < y[low_high[0]]:
            low_high[0] = place
        if value > y[low_high[1]]:
            low_high[1] = place
    places = sorted({0, len(x) - 1, *(place for pair in ends.values() for place in pair)})
    return [x[place] for place in places], [y[place] for place in places]
