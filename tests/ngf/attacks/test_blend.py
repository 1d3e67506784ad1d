"""Blend: one formula, whatever its strength."""

import torch

from ngf.catalogue import build
from ngf.config import Choice


def test_blend_is_one_formula(images):
    weak, strong = (
        build("attacks", Choice("blend", {"alpha": a})).apply(images) for a in (0.1, 1.0)
    )
    assert torch.allclose(weak, 0.9 * images + 0.1 * strong, atol=1e-6)
