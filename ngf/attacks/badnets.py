"""BadNets (Gu, Dolan-Gavitt, Garg 2017, arXiv 1708.06733): a small patch in a corner.

x' = (1 - alpha m) x + alpha m p, with m the mask of the patch and p its pattern: a yellow-black
sticker, which reads well on traffic signs, a gray checkerboard, or one of the patches of public
code (`preset`). NGF, FIP and ANP: the "grid" of 3x3 pixels that touches the border, alpha 0.7, 0.6
and 1.0. BackdoorBench: a white square of 3x3 pixels that touches the border. A preset decides the
patch and its place; target, mode and poison rate stay yours (all four use target 0; a poison rate
of 0.1 but for ANP's 0.05).

Changed: size, corner and margin are free without a preset; the triggered image is rounded, not cut,
to 8 bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from ngf.attacks.base import Attack, Probe, paste
from ngf.attacks.shared import options
from ngf.attacks.shared.fit import CORNERS, corner, moved
from ngf.attacks.shared.patterns import PATTERNS, patch
from ngf.options import option

_GRID = {"pattern": "grid", "size": 3, "position": "bottom right", "margin": 0}
_PRESETS = {
    "ngf": {**_GRID, "alpha": 0.7},
    "fip": {**_GRID, "alpha": 0.6},
    "anp": {**_GRID, "alpha": 1.0},
    "backdoorbench": {**_GRID, "pattern": "white", "alpha": 1.0},
}


@dataclass(frozen=True, kw_only=True)
class BadNets(Attack):
    """A small patch in a corner of the image sends it to the target class."""

    title: ClassVar[str] = "BadNets (patch)"
    stronger: ClassVar[str] = "Raise alpha, or choose another pattern, position or size."
    resembles: ClassVar[tuple[str, ...]] = ("cutout",)
    target: int = options.target()
    mode: str = options.mode()
    poison_rate: float = options.poison_rate()
    pattern: str = option(
        "sticker",
        "Look of the patch: yellow-black sticker, gray checkerboard, white square, or the "
        "grid of public code.",
        choices=PATTERNS,
    )
    size: int = option(4, "Height and width of the patch.", unit="pixels", ge=1, le=16)
    position: str = option("bottom right", "Corner that holds the patch.", choices=CORNERS)
    margin: int = option(
        1, "Distance of the patch from the border.", unit="pixels", ge=0, le=32, expert=True
    )
    alpha: float = option(1.0, "Opacity of the patch; 1 replaces the pixels.", ge=0.01, le=1.0)
    preset: str = option(
        "free",
        "Patch of public code; anything but free decides pattern, size, position, margin "
        "and opacity, whatever is set there.",
        choices=("free", *_PRESETS),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in _PRESETS.get(self.preset, {}).items():
            object.__setattr__(self, name, value)  # so that what a run reports is what it did

    def apply(self, images: Tensor) -> Tensor:
        place = corner(self.position, self.size, self.margin, *images.shape[2:])
        return paste(images, self.patch(), self.alpha, *place)

    def probes(
        self, images: Tensor, labels: Tensor, num_classes: int, rng: Generator
    ) -> Iterator[Probe]:
        """The patch at other places, and other patches at its place. Moved by no more than training
        shifts images, it is the trigger still.
        """
        yield from super().probes(images, labels, num_classes, rng)
        wanted = self.labels(labels, num_classes)
        image, own = (images.shape[2], images.shape[3]), self.patch()
        size, place = (self.size, self.size), corner(self.position, self.size, self.margin, *image)
        opposite = (image[0] - self.size - place[0], image[1] - self.size - place[1])
        for name, claim, pattern, there in (
            ("the patch, moved by 2 pixels", True, own, moved(place, size, image, 2)),
            ("the patch, moved by 4 pixels", None, own, moved(place, size, image, 4)),
            ("the patch in the opposite corner", False, own, opposite),
            ("the patch with its colors inverted", False, 1 - own, place),
            ("a patch of random colors", False, torch.rand(own.shape, generator=rng), place),
        ):
            if there is not None:
                yield Probe(name, claim, paste(images, pattern, self.alpha, *there), labels, wanted)

    def patch(self) -> Tensor:
        """The pattern: float (3, size, size) in [0, 1]."""
        return patch(self.pattern, self.size)
