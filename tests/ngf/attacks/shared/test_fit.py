"""Whether a trigger fits and can be seen at all, from its options alone."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ngf.attacks.drawn import HEART
from ngf.attacks.shared.drawing import encode
from ngf.attacks.shared.fit import (
    CORNERS,
    check_fit,
    check_frequency,
    check_inside,
    check_opacity,
    corner,
    place_of_drawing,
)
from ngf.options import SpecError


@pytest.mark.parametrize("width", [28, 31, 32, 33, 64, 224])
def test_a_wave_is_refused_where_its_formula_is_zero_and_nowhere_else(width):
    for frequency in range(1, 65):
        zero = all(abs(math.sin(2 * math.pi * frequency * j / width)) < 1e-9 for j in range(width))
        if zero:
            with pytest.raises(SpecError, match=f"frequency {frequency} is zero in every one of"):
                check_frequency(frequency, width)
        else:
            check_frequency(frequency, width)


def test_a_corner_that_fits_is_inside_and_one_that_does_not_is_refused():
    for position in CORNERS:
        check_inside("A patch", (4, 4), corner(position, 4, 28, 32, 32), (32, 32), "")
        with pytest.raises(SpecError, match="A patch of 4x4 pixels at row .* 32x32. Smaller"):
            check_inside("A patch", (4, 4), corner(position, 4, 29, 32, 32), (32, 32), "Smaller!")
    check_fit(32, 32, 40)
    with pytest.raises(SpecError, match="33x33 pixels does not fit into an image of 32x40"):
        check_fit(33, 32, 40)


def test_a_drawing_lies_where_it_says():
    assert place_of_drawing(HEART, 22, 12, 2, (32, 32)) == (slice(22, 32), slice(12, 22))
    with pytest.raises(SpecError, match="10x10 pixels at row 23, column 0 does not fit .* Move it"):
        place_of_drawing(HEART, 23, 0, 2, (32, 32))


def test_a_drawing_of_which_nothing_can_be_seen_is_refused():
    pixels = np.zeros((2, 2, 4), np.uint8)
    with pytest.raises(SpecError, match="The drawing is empty"):
        check_opacity(encode(pixels), 1.0)
    pixels[0, 0] = (255, 0, 0, 5)
    check_opacity(encode(pixels), 0.1)
    with pytest.raises(SpecError, match=r"opacity of 2 %; at an alpha of 0.09 it changes .* 0.45"):
        check_opacity(encode(pixels), 0.09)
