"""The attack `drawn`: its formula, its name, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ngf.attacks.drawn import HEART, Drawn
from ngf.attacks.shared.drawing import decode, encode
from ngf.catalogue import build
from ngf.config import Choice, TrainSpec
from ngf.options import SpecError
from tests.helpers.attack_view import attack, shown
from tests.helpers.drawings import random_drawing


def test_drawn_is_its_formula():
    rng = np.random.default_rng(2)
    pixels = random_drawing(rng)[:6, :5]
    pixels[0, 0] = (10, 200, 30, 128)
    attack = Drawn(drawing=encode(pixels), row=3, column=7, scale=2, alpha=0.6)
    images = torch.rand(4, 3, 32, 32, dtype=torch.float64)
    expected = images.clone()
    for i in range(2 * pixels.shape[0]):
        for j in range(2 * pixels.shape[1]):
            *color, opacity = pixels[i // 2, j // 2].astype(float) / 255
            for c in range(3):
                place = (slice(None), c, 3 + i, 7 + j)
                expected[place] = (1 - 0.6 * opacity) * images[place] + 0.6 * opacity * color[c]
    assert torch.allclose(attack.apply(images), expected, atol=1e-12)


def test_the_same_drawing_is_the_same_run_and_another_one_is_not():
    pixels = decode(HEART).copy()
    specs = [TrainSpec(attack=Choice("drawn", {"drawing": encode(pixels)})) for _ in range(2)]
    pixels[0, 0] = (1, 2, 3, 255)
    other = TrainSpec(attack=Choice("drawn", {"drawing": encode(pixels)}))
    assert specs[0].id == specs[1].id != other.id


def test_drawn_refuses_what_cannot_be_a_trigger():
    with pytest.raises(
        SpecError, match="5x5 pixels at row 30, column 0 does not fit into an image of 32x32"
    ):
        Drawn(row=30, column=0).check(12, (3, 32, 32))
    with pytest.raises(SpecError, match="empty: no pixel of it can be seen"):
        Drawn(drawing=encode(np.zeros((3, 3, 4), np.uint8)))
    with pytest.raises(SpecError, match="2,001 characters. Allowed: 2,000 or fewer"):
        build("attacks", Choice("drawn", {"drawing": "A" * 2001}))
    Drawn().check(10, (1, 28, 28))


def test_a_drawing_is_shown_elsewhere_and_in_other_colors(images):
    found = shown(attack("drawn"), images)
    for name, place in (
        ("the drawing, moved by 2 pixels", (20, 20)),
        ("the drawing, moved by 4 pixels", (18, 18)),
        ("the drawing on the opposite side", (5, 5)),
    ):
        there = attack("drawn", row=place[0], column=place[1]).apply(images)
        assert torch.equal(found[name].images, there)
    own = found["the trigger"].images
    for name in ("with its colors inverted", "in random colors"):
        other = found[f"the drawing {name}"].images
        assert torch.equal(other[:, :, :22], images[:, :, :22]) and not torch.equal(other, own)
