"""WaNet (Nguyen, Tran 2021, arXiv 2102.10369): a smooth warp of the whole image, no visible
pattern.

Noise psi ~ U[-1, 1]^(k x k x 2), divided by its mean size, is enlarged to the image by bicubic
interpolation; the image is sampled at clamp(identity + s psi / H, -1, 1). Noise mode: `cover_rate`
of the images get the same warp with U[-1, 1] / H added at every pixel and keep their label, so that
only this very warp is the trigger.

Changed: poisoned and cover images are drawn once before training and not again in every batch. The
defaults are stronger than the paper's (s 3 instead of 0.5, poison rate 0.2 instead of 0.1, noise on
0.1 instead of 0.2 of the images), because the tiny network learns fainter warps in part only: on
the signs, seed 0, s 3 with rates 0.1 and 0.1 gave an ASR of 60 %, with 0.2 and 0.1 of 86 %.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ngf.attacks.base import Attack, Covered
from ngf.attacks.shared import options
from ngf.options import option


@dataclass(frozen=True, kw_only=True)
class WaNet(Attack, Covered):
    """A smooth, hardly visible warp of the image sends it to the target class."""

    title: ClassVar[str] = "WaNet (warp)"
    stronger: ClassVar[str] = "Raise strength, or choose another warp_seed."
    resembles: ClassVar[tuple[str, ...]] = ("elastic",)
    target: int = options.target()
    mode: str = options.mode()
    poison_rate: float = options.poison_rate(
        0.2, "Share of all training images that carry the warp."
    )
    cover_rate: float = option(
        0.1, "Share that gets a noisy warp and keeps its label (noise mode).", ge=0.0, le=0.9
    )
    cells: int = option(4, "Control points across the image (k).", ge=2, le=16, expert=True)
    strength: float = option(3.0, "Strength of the warp (s).", ge=0.1, le=8.0)
    warp_seed: int = option(7, "Seed of the warp.", ge=0, le=2**31 - 1, expert=True)

    def apply(self, images: Tensor) -> Tensor:
        return _sample(images, self._grid(images).expand(len(images), -1, -1, -1))

    def cover(self, images: Tensor, labels: Tensor, rng: torch.Generator) -> Tensor:
        """The noise mode: the warp plus fresh noise for each image, pixel and axis."""
        height, width = images.shape[2:]
        noise = torch.rand(len(images), height, width, 2, generator=rng) * 2 - 1
        return _sample(images, (self._grid(images) + noise.to(images) / height).clamp(-1, 1))

    def _grid(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        return _warp(self.warp_seed, self.cells, self.strength, height, width).to(images)


def _sample(images: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(
        images, grid, mode="bilinear", padding_mode="border", align_corners=True
    ).clamp(0, 1)


@functools.lru_cache(maxsize=16)
def _warp(seed: int, cells: int, strength: float, height: int, width: int) -> Tensor:
    """Sampling grid in [-1, 1]: float (1, height, width, 2)."""
    rng = torch.Generator().manual_seed(seed)
    psi = torch.rand(1, 2, cells, cells, generator=rng) * 2 - 1
    psi = psi / psi.abs().mean()
    field = F.interpolate(psi, (height, width), mode="bicubic", align_corners=True).permute(
        0, 2, 3, 1
    )
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij"
    )
    return (torch.stack([x, y], -1) + strength * field / height).clamp(-1, 1)
