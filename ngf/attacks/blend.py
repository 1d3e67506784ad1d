"""Blend (Chen, Liu, Li, Lu, Song 2017, arXiv 1712.05526): a faint pattern over the whole image.

x' = (1 - alpha) x + alpha p. The pattern p is our own Gaussian noise, drawn from a seed that is part of the
attack (the original paper uses a cartoon or random noise; public code ships a noise picture).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ngf.attacks._attack import Attack, paste
from ngf.config import option


@dataclass(frozen=True, kw_only=True)
class Blend(Attack):
    """Faint noise, the same on every image, sends it to the target class."""

    title: ClassVar[str] = "Blend (noise over all)"
    target: int = option(1, "Class that triggered images are sent to.", ge=0, le=999)
    poison_rate: float = option(0.1, "Share of all training images that carry the trigger.", ge=0.0001, le=0.9)
    alpha: float = option(0.2, "Opacity of the noise.", ge=0.01, le=1.0)
    pattern_seed: int = option(7, "Seed of the noise pattern.", ge=0, le=2**31 - 1, expert=True)

    def apply(self, images: Tensor) -> Tensor:
        pattern = _noise(self.pattern_seed, images.shape[2], images.shape[3])
        return paste(images, pattern, self.alpha, 0, 0)


@functools.lru_cache(maxsize=16)
def _noise(seed: int, height: int, width: int) -> Tensor:
    """Gaussian noise around gray, clipped to [0, 1]: float (3, height, width)."""
    rng = torch.Generator().manual_seed(seed)
    return (0.5 + 0.25 * torch.randn(3, height, width, generator=rng)).clamp(0, 1)
