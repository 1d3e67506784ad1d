"""Adaptive blend: some pieces of the trigger in training, all of them in the test."""

import pytest
import torch

from ngf.options import SpecError
from tests.helpers.attack_view import attack, rng, shown


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


def test_adaptive_blend_shows_parts_of_its_pattern():
    gray = torch.full((3, 3, 32, 32), 0.5)
    found = shown(attack("adaptive_blend"), gray)
    parts = {"half of the pieces": 8, "a quarter of the pieces": 4, "one piece": 1}
    for name, pieces in parts.items():
        changed = (found[name].images != gray).any(1).float().view(3, 4, 8, 4, 8).mean((2, 4))
        assert ((changed > 0.9).sum((1, 2)) == pieces).all() and (changed > 0).sum() == 3 * pieces
    assert not torch.allclose(found["other noise"].images, found["the trigger"].images, atol=0.1)
