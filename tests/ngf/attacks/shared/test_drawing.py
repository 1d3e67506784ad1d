"""Drawings as text: one text per drawing, bounded, and refused with a way out."""

from __future__ import annotations

import numpy as np
import pytest

from ngf.attacks.drawn import HEART
from ngf.attacks.shared.drawing import LONGEST, decode, encode
from ngf.options import SpecError
from tests.helpers.drawings import random_drawing


def test_a_drawing_has_one_text_and_the_text_one_drawing():
    rng = np.random.default_rng(0)
    for _ in range(200):
        pixels = random_drawing(rng)
        text_of_it = encode(pixels)
        assert np.array_equal(decode(text_of_it), pixels)
        assert encode(decode(text_of_it)) == text_of_it
        hidden = pixels.copy()
        hidden[hidden[:, :, 3] == 0] = (9, 8, 7, 0)  # a color that nobody sees
        assert encode(hidden) == text_of_it


def test_no_text_is_longer_than_promised():
    pixels = np.random.default_rng(1).integers(1, 256, (16, 16, 4)).astype(np.uint8)
    assert len(encode(pixels)) == LONGEST
    assert np.array_equal(decode(encode(pixels)), pixels)


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "A",
        "nonsense!",
        "é",
        HEART[:-2],
        HEART + "AA",
        HEART + "=",
        "A" * 2000,
        HEART.replace("A", "B"),
        "/" + HEART[1:],
        "8f8" + HEART[3:],
    ],
)
def test_a_text_that_is_no_drawing_is_refused_with_a_way_out(broken):
    with pytest.raises(SpecError, match="trigger studio"):
        decode(broken)


def test_a_drawing_out_of_range_is_refused():
    with pytest.raises(SpecError, match="17x3 pixels is out of range. Allowed: 1x1 to 16x16"):
        encode(np.zeros((17, 3, 4), np.uint8))
