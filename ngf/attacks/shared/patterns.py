"""Patterns that several attacks share: patches, and noise over the whole image."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

PATTERNS = ("sticker", "checkerboard", "white", "grid")
_STICKER = ((1.0, 0.85, 0.0), (0.05, 0.05, 0.05))
_GRAY = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def patch(pattern: str, size: int) -> Tensor:
    """One of `PATTERNS`: float (3, size, size) in [0, 1].

    sticker: yellow and black, fields of 2x2 pixels.
    checkerboard: single pixels, black first.
    grid: single pixels, white first, but its first pixel is black, which for size 3 is the patch of
        the code of NAD, ABL, ANP and NGF.
    """
    if pattern == "white":
        return torch.ones(3, size, size)
    field = 2 if pattern == "sticker" and size >= 4 else 1
    steps = torch.arange(size) // field
    odd = (steps[:, None] + steps[None, :]) % 2
    if pattern == "grid":
        odd = 1 - odd
        odd[0, 0] = 0
    colors = torch.tensor(_STICKER if pattern == "sticker" else _GRAY)
    return colors[odd].permute(2, 0, 1).contiguous()


@functools.lru_cache(maxsize=16)
def noise(seed: int, height: int, width: int) -> Tensor:
    """Gaussian noise around gray, clipped to [0, 1]: float (3, height, width)."""
    rng = torch.Generator().manual_seed(seed)
    return (0.5 + 0.25 * torch.randn(3, height, width, generator=rng)).clamp(0, 1)
