"""Folders of images: pools are cut class by class."""

import numpy as np

from ngf.data.shared.folders import divide


def test_pools_are_cut_class_by_class():
    labels = np.repeat([0, 1, 2], [10, 50, 7])
    parts = divide(labels, (0.6, 0.2, 0.2))
    assert sorted(np.concatenate(parts)) == list(range(67))
    assert [np.bincount(labels[part]).tolist() for part in parts] == [
        [6, 30, 4],
        [2, 10, 2],
        [2, 10, 1],
    ]
    assert all(
        np.array_equal(a, b) for a, b in zip(parts, divide(labels, (0.6, 0.2, 0.2)), strict=True)
    )
