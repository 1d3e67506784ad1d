"""In which order the cells of a surface are measured."""

from __future__ import annotations

import numpy as np

from analysis.landscape.progressive_surface import ProgressiveSurface, axis_levels


def test_rows_come_in_serpentine_order():
    surface = ProgressiveSurface(np.zeros((1, 5, 5)), np.zeros((1, 5, 5)))
    seen = []
    for b, columns in surface.rows():
        seen += [(b, a) for a in columns]
        surface.record(b, columns, np.ones((1, len(columns))), np.ones((1, len(columns))))
    assert len(seen) == len(set(seen)) == 25
    assert seen[:7] == [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 4), (1, 3)]


def test_levels_have_both_ends_and_the_center():
    assert [len(level) for level in axis_levels(41)] == [11, 21, 41]
    assert all(level[0] == 0 and level[-1] == 50 and 25 in level for level in axis_levels(51))
