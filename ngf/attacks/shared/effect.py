"""What a trigger changes in the 8 bits that images are kept in. No torch: the web server uses this.

Training and test images are bytes, so a change that rounds away is no change, whatever its formula
says: stripes whose every column lies on a zero of the wave, an opacity below half of one of 255
steps, a white patch on white paper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ngf.options import SpecError

# Share of images that a trigger may leave as they are. A network answers an image that was left as
# it is with the class that it gives without a trigger, so the attack cannot succeed on more than
# the changed ones, but by the network's own errors. Above a half it fails on most images, whatever
# the network and however long it is trained; below, training can tell how well it works.
MOST = 0.5


@dataclass(frozen=True)
class Effect:
    """What a trigger changed.

    count: images that were compared.
    unchanged: those of them in which no value changed.
    values: numbers in an image, C H W.
    largest: the largest change of a value in the unchanged ones before rounding, of 255.
    """

    count: int
    unchanged: int
    values: int
    largest: float

    @property
    def nothing(self) -> bool:
        """Whether the trigger leaves most of the images as they are."""
        return self.unchanged > MOST * self.count

    def sentence(self, what: str) -> str:
        """On how many images the trigger does nothing. what: which images they are, in words."""
        return (
            f"This trigger changes 0 of {self.values:,} values in 8 bits (largest change "
            f"{self.largest:.2g} of 255) on {self.unchanged:,} of {self.count:,} {what}: nobody "
            "can tell them from images without it."
        )

    def check(self, what: str, advice: str) -> None:
        """Raise SpecError, with `sentence` and `advice`, for a trigger that does nothing."""
        if self.nothing:
            raise SpecError(f"{self.sentence(what)} {advice}")


def effect(clean: np.ndarray, triggered: np.ndarray) -> Effect:
    """Compare images with and without a trigger.

    clean: uint8 (N, ...).
    triggered: the same images with the trigger, of 255, (N, ...); floats are not yet rounded.
    """
    values = math.prod(clean.shape[1:])
    before, after = (images.reshape(len(clean), values) for images in (clean, triggered))
    left = (np.rint(after) == before).all(1)
    change = np.abs(after[left] - before[left].astype(np.float64))
    return Effect(len(clean), int(left.sum()), values, float(change.max(initial=0.0)))
