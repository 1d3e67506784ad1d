"""What a trigger changes in 8 bits: the count, the threshold, and the words."""

from __future__ import annotations

import numpy as np
import pytest

from ngf.attacks.shared.effect import Effect, effect
from ngf.options import SpecError


def test_what_rounds_away_is_no_change():
    clean = np.full((3, 1, 2, 2), 100, np.uint8)
    triggered = clean.astype(np.float32)
    triggered[0] += 0.4  # rounds away
    triggered[1, 0, 0, 0] -= 0.6  # one value of four moves
    assert effect(clean, triggered) == Effect(3, 2, 4, pytest.approx(0.4, abs=1e-5))
    assert effect(clean, clean) == Effect(3, 3, 4, 0.0), "bytes are compared as they are"
    assert not effect(clean[:0], triggered[:0]).nothing, "of no image nothing is said"


@pytest.mark.parametrize(("unchanged", "nothing"), [(50, False), (51, True), (100, True)])
def test_most_images_decide(unchanged, nothing):
    assert Effect(100, unchanged, 12, 0.0).nothing is nothing


def test_the_message_says_by_how_much_it_changes_what_and_what_to_do():
    with pytest.raises(SpecError) as refused:
        Effect(100, 97, 3072, 0.41).check("test images", "Raise alpha.")
    assert str(refused.value) == (
        "This trigger changes 0 of 3,072 values in 8 bits (largest change 0.41 of 255) on 97 of "
        "100 test images: nobody can tell them from images without it. Raise alpha."
    )
    Effect(100, 3, 3072, 0.41).check("test images", "Raise alpha.")
