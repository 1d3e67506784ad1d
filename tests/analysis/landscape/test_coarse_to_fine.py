"""Coarse to fine: each point once, and each level halves the gaps."""

from __future__ import annotations

import pytest

from analysis.landscape.coarse_to_fine import levels, order


@pytest.mark.parametrize(("points", "stride"), [(2, 1), (3, 4), (7, 4), (11, 16), (25, 4)])
def test_each_point_comes_once_and_both_ends_first(points, stride):
    assert sorted(order(points, stride)) == list(range(points))
    assert order(points, stride)[:2] == [0, points - 1]


def test_each_level_holds_the_one_before_it():
    assert levels(9, 4) == [[0, 4, 8], [0, 2, 4, 6, 8], list(range(9))]
    assert levels(11, 4, center=5) == [[0, 1, 5, 9, 10], [0, 1, 3, 5, 7, 9, 10], list(range(11))]
