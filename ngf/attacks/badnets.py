"""BadNets (Gu, Dolan-Gavitt, Garg 2017, arXiv 1708.06733): a small patch in a corner.

x' = (1 - alpha m) x + alpha m p, with m the mask of the patch and p its pattern. Patterns: a gray
checkerboard, as in the code of NGF (3x3, alpha 0.7), ANP (alpha 1.0) and FIP (alpha 0.6), or a yellow-black
sticker, which reads well on traffic signs. Changed: size, corner and margin are free.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ngf.attacks._attack import Attack, paste
from ngf.config import option

_STICKER = ((1.0, 0.85, 0.0), (0.05, 0.05, 0.05))
_GRAY = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@dataclass(frozen=True, kw_only=True)
class BadNets(Attack):
    """A small patch in a corner of the image sends it to the target class."""

    title: ClassVar[str] = "BadNets (patch)"
    target: int = option(1, "Class that triggered images are sent to.", ge=0, le=999)
    mode: str = option("all-to-one", "Send every class to the target, or each class to the next one.",
                       choices=("all-to-one", "all-to-all"))
    poison_rate: float = option(0.1, "Share of all training images that carry the trigger.", ge=0.0001, le=0.9)
    pattern: str = option("sticker", "Look of the patch: yellow-black sticker or gray checkerboard.",
                          choices=("sticker", "checkerboard"))
    size: int = option(4, "Height and width of the patch.", unit="pixels", ge=1, le=16)
    position: str = option("bottom right", "Corner that holds the patch.",
                           choices=("bottom right", "bottom left", "top right", "top left"))
    margin: int = option(1, "Distance of the patch from the border.", unit="pixels", ge=0, le=32, expert=True)
    alpha: float = option(1.0, "Opacity of the patch; 1 replaces the pixels.", ge=0.01, le=1.0)

    def apply(self, images: Tensor) -> Tensor:
        pattern = self.patch()
        height, width = images.shape[2:]
        top = self.margin if self.position.startswith("top") else height - self.size - self.margin
        left = self.margin if self.position.endswith("left") else width - self.size - self.margin
        return paste(images, pattern, self.alpha, top, left)

    def patch(self) -> Tensor:
        """The pattern: float (3, size, size). Sticker: 2x2 fields; checkerboard: single pixels."""
        field = 2 if self.pattern == "sticker" and self.size >= 4 else 1
        steps = torch.arange(self.size) // field
        odd = (steps[:, None] + steps[None, :]) % 2
        colors = torch.tensor(_STICKER if self.pattern == "sticker" else _GRAY)
        return colors[odd].permute(2, 0, 1).contiguous()
