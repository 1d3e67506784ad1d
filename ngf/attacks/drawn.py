"""Your own trigger: a drawing of at most 16x16 pixels, laid over a part of the image (BadNets with
a free pattern).

After Gu, Dolan-Gavitt, Garg 2017, arXiv 1708.06733. With p the colors of the drawing, o in [0, 1]
the opacity of each of its pixels (0 where nothing is painted), both enlarged `scale` times without
smoothing, and (row, column) the place of its upper left corner:

x' = (1 - alpha o) x + alpha o p inside that rectangle, x' = x outside.

Changed: the pattern is yours. It is part of the specification as a short text
(`ngf.attacks.shared.drawing` says how), so the same drawing gives the same run on every machine;
gray images get the mean of its three colors. The default, a heart five pixels high, also fits into
images of 28x28; on the signs, seed 0, it reached a CA of 99.6 % (2,400 test images) and an ASR of
100.0 % (2,202).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from ngf.attacks.base import Attack, Probe
from ngf.attacks.shared import options
from ngf.attacks.shared.drawing import decode
from ngf.attacks.shared.fit import check_opacity, moved, place_of_drawing
from ngf.options import option

HEART = "RAIAAAAA5gB-_1f-4gA"


@dataclass(frozen=True, kw_only=True)
class Drawn(Attack):
    """Pixels that you paint yourself send an image to the target class."""

    title: ClassVar[str] = "Your own (drawn)"
    stronger: ClassVar[str] = "Paint in other colors, move the drawing, or raise alpha."
    resembles: ClassVar[tuple[str, ...]] = ("cutout",)
    target: int = options.target()
    poison_rate: float = options.poison_rate()
    drawing: str = option(HEART, "The drawing as text, made by the trigger studio.")
    row: int = option(
        22,
        "Row of its upper edge, counted from the top of the image.",
        unit="pixels",
        ge=0,
        le=1023,
    )
    column: int = option(
        22, "Column of its left edge, counted from the left.", unit="pixels", ge=0, le=1023
    )
    scale: int = option(
        1,
        "Pixels of the image, in height and width, for one pixel of the drawing.",
        unit="pixels",
        ge=1,
        le=64,
    )
    alpha: float = option(1.0, "Opacity of the drawing; 1 replaces the pixels.", ge=0.01, le=1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_opacity(self.drawing, 1.0)  # a text that is no drawing says so

    def check(self, num_classes: int, shape: tuple[int, int, int]) -> None:
        super().check(num_classes, shape)
        check_opacity(self.drawing, self.alpha)

    def apply(self, images: Tensor) -> Tensor:
        return self._painted(images, self.row, self.column, *_layers(self.drawing))

    def probes(
        self, images: Tensor, labels: Tensor, num_classes: int, rng: Generator
    ) -> Iterator[Probe]:
        """The drawing at other places, and in other colors. Moved by no more than training shifts
        images, it is the trigger still.
        """
        yield from super().probes(images, labels, num_classes, rng)
        wanted = self.labels(labels, num_classes)
        colors, opacity = _layers(self.drawing)
        height, width = (self.scale * side for side in colors.shape[1:])
        size, image = (height, width), (images.shape[2], images.shape[3])
        place = (self.row, self.column)
        opposite = (image[0] - height - self.row, image[1] - width - self.column)
        random = torch.rand(colors.shape, generator=rng, dtype=colors.dtype)
        for name, claim, there, painted in (
            ("the drawing, moved by 2 pixels", True, moved(place, size, image, 2), colors),
            ("the drawing, moved by 4 pixels", None, moved(place, size, image, 4), colors),
            ("the drawing on the opposite side", None, opposite, colors),
            ("the drawing with its colors inverted", False, place, 1 - colors),
            ("the drawing in random colors", False, place, random),
        ):
            if there is not None:
                shown = self._painted(images, *there, painted, opacity)
                yield Probe(name, claim, shown, labels, wanted)

    def _painted(
        self, images: Tensor, row: int, column: int, colors: Tensor, opacity: Tensor
    ) -> Tensor:
        """Images with a drawing of the size of this one at another place.

        colors: (3, h, w).
        opacity: (1, h, w).
        """
        colors, opacity = (
            layer.repeat_interleave(self.scale, 1).repeat_interleave(self.scale, 2).to(images)
            for layer in (colors, opacity)
        )
        if images.shape[1] == 1:
            colors = colors.mean(0, keepdim=True)
        rows, columns = place_of_drawing(
            self.drawing, row, column, self.scale, (images.shape[2], images.shape[3])
        )
        out = images.clone()
        window = out[:, :, rows, columns]
        share = self.alpha * opacity
        window.mul_(1 - share).add_(share * colors).clamp_(0, 1)
        return out


@functools.lru_cache(maxsize=64)
def _layers(text: str) -> tuple[Tensor, Tensor]:
    """Colors (3, h, w) and opacity (1, h, w) in [0, 1]."""
    pixels = torch.tensor(decode(text), dtype=torch.float64).permute(2, 0, 1) / 255
    return pixels[:3], pixels[3:]
