"""WaNet: a warp that grows with its strength, and cover images with noise."""

import torch

from ngf.catalogue import build
from ngf.config import Choice


def test_wanet_moves_pixels_and_covers_with_noise(images):
    attack = build("attacks", Choice("wanet"))
    still = build("attacks", Choice("wanet", {"strength": 0.1})).apply(images)
    assert (still - images).abs().mean() < (attack.apply(images) - images).abs().mean()
    flat = torch.full((2, 3, 32, 32), 0.25)
    assert torch.allclose(attack.apply(flat), flat)  # a warp of a constant is the constant
    cover = attack.cover(
        images, torch.zeros(24, dtype=torch.int64), torch.Generator().manual_seed(0)
    )
    assert not torch.equal(cover[0], attack.apply(images)[0])
