"""Adaptive blend: some pieces of the trigger in training, all of them in the test."""

import pytest
import torch

from ngf.options import SpecError
from tests.helpers.attack_view import attack, rng


def test_adaptive_blend_trains_with_half_of_the_pieces_and_tests_with_all(images):
    made = attack("adaptive_blend", pieces=4, kept=0.5)
    index = torch.arange(len(images))
    whole = made.apply(images)
    assert torch.allclose(whole, attack("blend", alpha=0.4).apply(images))
    part = made.apply_train(images, index, rng())
    pieces = (part != images).any(1).unfold(1, 8, 8).unfold(2, 8, 8).flatten(3).any(3).flatten(1)
    assert pieces.sum(1).tolist() == [8] * len(images)
    assert len({tuple(row) for row in pieces.tolist()}) > 20  # each image has a choice of its own
    inside = part != images
    assert torch.equal(part[inside], whole[inside])
    assert torch.equal(part, made.apply_train(images, index, rng()))
    cover = made.cover(images, index, rng())
    assert torch.equal(cover, part)
    with pytest.raises(SpecError, match="2x9 pixels cannot be cut into 4x4 pieces"):
        made.check(12, (3, 2, 9))
