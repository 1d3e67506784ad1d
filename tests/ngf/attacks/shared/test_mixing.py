"""Mixes of two images: a stretch of each, and a partner of the same class."""

import torch

from ngf.attacks.shared.mixing import another, draw, mix
from tests.helpers.attack_view import rng


def test_composite_mixes_a_stretch_of_each_image():
    """Every pixel says where it comes from, so what the mix took from where can be read off."""
    height, width, count, jitter = 8, 12, 200, 2
    here = (
        torch.arange(height * width, dtype=torch.float64)
        .view(1, 1, height, width)
        .expand(count, -1, -1, -1)
    )
    out = mix(here, here + 1000, draw(count, rng()), jitter)
    ways = set()
    for image in out[:, 0]:
        second, place = image >= 1000, image % 1000
        down = bool((second[:, 0] == second[:, -1]).all())
        if not down:
            second, place = second.T, place.T
        length, stride = len(second), width if down else 1
        assert bool((second == second[:, :1]).all())  # a straight seam
        split = int((second[:, 0] == second[0, 0]).sum())
        assert abs(split - length // 2) <= jitter and second[:split, 0].unique().numel() == 1
        steps = place[:, 0].diff()
        assert bool((steps[: split - 1] == stride).all()) and bool((steps[split:] == stride).all())
        ways.add((down, bool(second[0, 0]), split))
    assert len(ways) == 2 * 2 * (2 * jitter + 1)  # both directions, both orders, all splits


def test_composite_partners_are_of_the_same_class():
    labels = torch.randint(5, (64,), generator=rng())
    labels[labels == 4] = 3
    labels[10] = 4  # the only one of its class is its own partner
    partner = another(labels, rng())
    assert torch.equal(labels[partner], labels)
    assert (partner == torch.arange(64)).nonzero().tolist() == [[10]]
    assert sorted(partner.tolist()) == list(range(64))
