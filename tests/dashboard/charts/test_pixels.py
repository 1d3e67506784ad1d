"""Curves with more points than pixels keep what can be seen of them."""

from __future__ import annotations

import random

from dashboard.charts.pixels import COLUMNS, EXACT, per_pixel


def test_a_curve_that_fits_stays_as_it_is() -> None:
    x, y = list(range(EXACT)), [0.5] * EXACT
    assert per_pixel(x, y) == (x, y) and per_pixel([], []) == ([], [])


def test_a_long_curve_keeps_lowest_and_highest_of_every_column_and_both_ends() -> None:
    noise = random.Random(0)
    x = sorted(noise.sample(range(10**6), 50_000))
    y = [noise.gauss(0, 1) for _ in x]
    kept_x, kept_y = per_pixel(x, y)
    assert len(kept_x) <= 2 * COLUMNS + 3 and kept_x == sorted(kept_x)
    assert (kept_x[0], kept_y[0], kept_x[-1], kept_y[-1]) == (x[0], y[0], x[-1], y[-1])
    of = dict(zip(x, y, strict=True))
    assert all(of[place] == value for place, value in zip(kept_x, kept_y, strict=True))
    scale = COLUMNS / (x[-1] - x[0])
    columns: dict[int, list[float]] = {}
    for place, value in of.items():
        columns.setdefault(int((place - x[0]) * scale), []).append(value)
    for values in columns.values():
        assert {min(values), max(values)} <= set(kept_y)
    assert (min(kept_y), max(kept_y)) == (min(y), max(y))


def test_points_above_each_other() -> None:
    x, y = per_pixel([7] * 3000, list(range(3000)))
    assert x == [7, 7] and y == [0, 2999]
