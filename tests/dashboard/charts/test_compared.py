"""Means over seeds and their intervals, against SciPy; the colors of what has none of its own."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from dashboard.charts.compared import groups, mean_of, mean_rate, t_interval
from dashboard.charts.style import GRAY, IMAGES, METHODS, MODELS, SERIES, SPARE, series_mark
from tests.helpers.made_up_comparisons import entry

# What the color-blind see of linear RGB (Machado, Oliveira and Fernandes 2009, severity 1).
SEEN = {
    "all": np.eye(3),
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
}
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def linear(color: str) -> np.ndarray:
    shares = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    xyz = TO_XYZ @ np.clip(rgb, 0, 1) / TO_XYZ.sum(axis=1)
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


@pytest.mark.parametrize("n", [2, 3, 5, 20])
def test_the_interval_is_students(n):
    values = np.random.default_rng(n).normal(0.3, 0.1, n).tolist()
    low, high = t_interval(values)
    wanted = stats.t.interval(0.95, n - 1, np.mean(values), stats.sem(values))
    assert (low, high) == pytest.approx(wanted)


def test_it_covers_the_mean_19_times_in_20():
    draws = np.random.default_rng(0).normal(1.0, 2.0, (2000, 4))
    held = [low <= 1.0 <= high for low, high in map(t_interval, draws.tolist())]
    assert 0.935 < np.mean(held) < 0.965


def test_a_single_value_has_no_interval():
    assert t_interval([0.5]) == (None, None)
    mean = mean_rate([entry()], "asr", "after")
    assert (mean.n, mean.low, mean.count) == (1, None, "n = 1 purification seed of one model")
    assert mean_rate([entry(asr=None)], "asr", "after") is None
    assert mean_of([]) is None


def test_seeds_of_one_model_count_one_each_whatever_they_have_several_of():
    found = [entry(seed=0, layer="a"), entry(seed=0, layer="b"), entry(seed=1)]
    mean = mean_of(list(zip(found, [0.0, 0.2, 0.5], strict=True)))
    assert mean.value == pytest.approx(0.3)  # of 0.1 and 0.5
    assert (mean.n, mean.lanes) == (2, 3)
    assert mean.count == "n = 2 purification seeds of one model"
    assert (mean.low, mean.high) == pytest.approx(t_interval([0.1, 0.5]))


def test_of_several_models_each_counts_once():
    found = [entry(seed=seed) for seed in range(4)] + [entry(model="m1"), entry(model="m2")]
    mean = mean_of(list(zip(found, [1.0, 1.0, 1.0, 1.0, 0.0, 0.5], strict=True)))
    assert (mean.value, mean.n, mean.count) == (0.5, 3, "n = 3 models")
    assert (mean.low, mean.high) == pytest.approx(t_interval([1.0, 0.0, 0.5]))


def test_an_interval_of_a_rate_ends_where_rates_end():
    mean = mean_rate([entry(seed=0, asr=0.0), entry(seed=1, asr=0.5)], "asr", "after")
    assert (mean.low, mean.high) == (0.0, 1.0)


def test_groups_come_in_the_order_of_their_values():
    found = groups([entry("sgd"), entry("ngf"), entry("sgd", seed=1)])
    assert [(name, len(own)) for name, own in found.items()] == [("NGF", 1), ("SGD", 2)]


def test_25_things_in_a_row_look_different_also_to_the_color_blind():
    marks = [series_mark(place) for place in range(25)]
    assert len({(mark.color, mark.dash) for mark in marks}) == 25
    listed = {mark.color for table in (METHODS, MODELS, IMAGES) for mark in table.values()}
    assert not set(SERIES) & (listed | {mark.color for mark in SPARE} | {GRAY})
    for name, matrix in SEEN.items():
        seen = {color: lab(np.array(matrix) @ linear(color)) for color in SERIES}
        for one, other in itertools.combinations(SERIES, 2):
            assert np.linalg.norm(seen[one] - seen[other]) > 20, (name, one, other)
    for color in SERIES:
        bright = float(TO_XYZ[1] @ linear(color))
        for background in ("#FFFFFF", "#0B0F13"):
            low, high = sorted((bright, float(TO_XYZ[1] @ linear(background))))
            assert (high + 0.05) / (low + 0.05) >= 3
