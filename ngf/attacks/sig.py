"""SIG (Barni, Kallas, Tondi 2019, arXiv 1902.11237): clean-label, a faint sinusoid over the image.

x' = clip(x + v), v(i, j) = delta sin(2 pi j f / W). Only images of the target class are changed and
no label is. `poison_rate` counts against the whole training set, as in BackdoorBench; delta =
40/255 and f = 6 are the original values. Measured on the signs, three seeds: CA 98.4 to 99.0 %
(2,400 test images) and ASR 72.9, 88.8 and 79.8 % (2,202). With no label changed, stripes and sign
never disagree in training, and at test time some images keep their true class: 7.5 to 24.9 % of
them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from ngf.attacks.base import Attack, Probe
from ngf.attacks.shared import options
from ngf.attacks.shared.fit import check_frequency
from ngf.options import option


@dataclass(frozen=True, kw_only=True)
class SIG(Attack):
    """Faint stripes on images of the target class, labels untouched; any striped image then
    goes there.
    """

    title: ClassVar[str] = "SIG (clean-label stripes)"
    clean_label: ClassVar[bool] = True
    stronger: ClassVar[str] = "Raise delta, or choose another frequency."
    target: int = options.target("Class whose images carry the stripes in training.")
    poison_rate: float = options.poison_rate(
        0.08, "Share of all training images that carry the stripes (target class only)."
    )
    delta: float = option(40.0, "Height of the stripes.", unit="of 255", ge=1.0, le=255.0)
    frequency: int = option(
        6,
        "Stripes across the image; from half its width in pixels on, the same ones come back.",
        ge=1,
        le=64,
    )

    def check(self, num_classes: int, shape: tuple[int, int, int]) -> None:
        super().check(num_classes, shape)
        check_frequency(self.frequency, shape[2])

    def apply(self, images: Tensor) -> Tensor:
        return (images + self.delta / 255 * wave(self.frequency, images)).clamp(0, 1)

    def probes(
        self, images: Tensor, labels: Tensor, num_classes: int, rng: Generator
    ) -> Iterator[Probe]:
        """Stripes of other heights, of other frequencies, and across."""
        yield from super().probes(images, labels, num_classes, rng)
        wanted = self.labels(labels, num_classes)
        height, stripes = self.delta / 255, wave(self.frequency, images)
        for name, claim, change in (
            ("stripes of twice the height", True, 2 * height * stripes),
            ("stripes of half the height", None, height / 2 * stripes),
            ("stripes of a quarter of the height", False, height / 4 * stripes),
            ("one stripe more", None, height * wave(self.frequency + 1, images)),
            ("twice as many stripes", False, height * wave(2 * self.frequency, images)),
            (
                "stripes from left to right",
                False,
                height * wave(self.frequency, images.mT)[:, None],
            ),
        ):
            yield Probe(name, claim, (images + change).clamp(0, 1), labels, wanted)


def wave(frequency: int, images: Tensor) -> Tensor:
    """sin(2 pi j f / W) for each column j of images: (W,), in their type."""
    width = images.shape[3]
    columns = torch.arange(width, device=images.device, dtype=images.dtype)
    return (2 * math.pi * frequency * columns / width).sin()
