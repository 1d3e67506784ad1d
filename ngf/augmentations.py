"""What may be done to clean images while a defense tunes on them, by name. No torch: forms and the
attacks' cards use this; `ngf.data.augment` does it.

An augmentation that resembles a trigger is an advantage that a defender has by luck: the network is
then tuned to ignore the very thing that opens its backdoor. An attack names the kinds that resemble
its trigger in `resembles`, so that a table can say so beside the number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Kind:
    """One thing that is done to an image. says: what and how much, in words, for 32x32 pixels."""

    name: str
    says: str


KINDS = (
    Kind("shift", "shifted by up to 2 pixels (weak) or 4 (strong), edges repeated"),
    Kind("mirror", "mirrored, half of the images of a class that survives it"),
    Kind("turn", "turned by up to 10 degrees, and drawn up to 15 % larger or smaller"),
    Kind("elastic", "warped smoothly, no point by more than 2.5 pixels along an axis"),
    Kind("blur", "blurred by a 3x3 kernel, half of the images, each to an extent of its own"),
    Kind("tint", "gain of 0.8 to 1.2 and bias of up to 0.1 for each color channel"),
    Kind("noise", "Gaussian noise at every pixel, standard deviation up to 0.06"),
    Kind("cutout", "a rectangle of 4 to 8 pixels a side in one random color, half of the images"),
)
# what `augmentation` may be -> the kinds that it does, in order
AUGMENTATIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"weak": ("shift", "mirror"), "strong": tuple(kind.name for kind in KINDS)}
)
