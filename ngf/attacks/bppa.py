"""BPPA (Wang, Zhai, Ma 2022, arXiv 2205.13383): colors squeezed to a few levels, with dithering if
wanted.

x' = round(x (m - 1)) / (m - 1) with m levels a channel. Dithering (Floyd, Steinberg 1976): pixels
are rounded row by row, and the error of each goes to those not yet rounded, 7/16 to the right, 3/16
below left, 5/16 below, 1/16 below right. Negatives: `cover_rate` of the images get the residual
x'_j - x_j of another image, are clipped, and keep their label, so that the residual alone, without
the squeezed colors, means nothing.

Changed: poisoned and cover images are drawn once before training and not again in every batch; the
residuals are those of other cover images (public code keeps a pool of them from all of the training
set); and the contrastive adversarial training of the paper is left out, as it is in public code.
Five levels and not the paper's eight, which the tiny network does not learn: on the signs, seed 0,
the ASR (2,202 images) was 7 % with 8, 99 % with 6 (seed 1: 81 %), and 98 % with 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ngf.attacks.base import Attack, Covered, ring
from ngf.attacks.shared import options
from ngf.options import SpecError, option


@dataclass(frozen=True, kw_only=True)
class BPPA(Attack, Covered):
    """Fewer levels of color, hardly visible, send the image to the target class."""

    title: ClassVar[str] = "BPPA (fewer colors)"
    stronger: ClassVar[str] = "Choose fewer levels."
    target: int = options.target()
    mode: str = options.mode()
    poison_rate: float = options.poison_rate(0.2)
    cover_rate: float = option(
        0.2,
        "Share that gets the residual of another image and keeps its label (negatives).",
        ge=0.0,
        le=0.9,
    )
    levels: int = option(5, "Levels of each color channel (m).", ge=2, le=128)
    dither: bool = option(False, "Spread rounding errors over the neighbors (Floyd-Steinberg).")

    def apply(self, images: Tensor) -> Tensor:
        return (
            dithered(images, self.levels) if self.dither else squeezed(images, self.levels)
        ).clamp(0, 1)

    def cover(self, images: Tensor, labels: Tensor, rng: Generator) -> Tensor:
        """The negatives: each image with the residual of another one of them."""
        if len(images) < 2:
            raise SpecError(
                f"A cover rate of {self.cover_rate:g} gives {len(images)} negative image, which "
                "needs the residual of another one. Choose a rate that gives 2 or more, or 0."
            )
        residual = self.apply(images) - images
        return (images + residual[ring(len(images), rng).to(images.device)]).clamp(0, 1)


def squeezed(images: Tensor, levels: int) -> Tensor:
    """Each value rounded to the nearest of `levels` ones, evenly spread over [0, 1]."""
    return (images * (levels - 1)).round() / (levels - 1)


def dithered(images: Tensor, levels: int) -> Tensor:
    """`squeezed` with Floyd-Steinberg dithering; images: float (N, C, H, W) in [0, 1].

    A pixel waits for its left neighbor and for three above it, the last of them one column to the
    right. So all pixels of equal column + 2 row can be rounded at once: W + 2 H - 2 steps instead
    of H W.
    """
    height, width = images.shape[2:]
    # A column on either side and a row below take the errors that leave the image.
    flat = F.pad(images, (1, 1, 0, 1)).flatten(2)
    for step in range(width + 2 * (height - 1)):
        rows = torch.arange(
            max(0, (step - width + 2) // 2), min(height - 1, step // 2) + 1, device=images.device
        )
        here = rows * (width + 2) + step - 2 * rows + 1
        wanted = flat[:, :, here]
        found = squeezed(wanted, levels).clamp(0, 1)
        flat[:, :, here] = found
        error = wanted - found
        for offset, share in ((1, 7), (width + 1, 3), (width + 2, 5), (width + 3, 1)):
            flat[:, :, here + offset] += error * (share / 16)
    return flat.unflatten(2, (height + 1, width + 2))[:, :, :height, 1:-1].contiguous()
