"""Blend (Chen, Liu, Li, Lu, Song 2017, arXiv 1712.05526): a faint pattern over the whole image.

x' = (1 - alpha) x + alpha p. The pattern p is our own Gaussian noise, drawn from a seed that is
part of the attack (the original paper uses a cartoon or random noise; public code ships a noise
picture).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Generator, Tensor

from ngf.attacks.base import Attack, Probe, paste
from ngf.attacks.shared import options
from ngf.attacks.shared.patterns import noise
from ngf.options import option


@dataclass(frozen=True, kw_only=True)
class Blend(Attack):
    """Faint noise, the same on every image, sends it to the target class."""

    title: ClassVar[str] = "Blend (noise over all)"
    stronger: ClassVar[str] = "Raise alpha."
    resembles: ClassVar[tuple[str, ...]] = ("noise",)
    target: int = options.target()
    poison_rate: float = options.poison_rate()
    alpha: float = option(0.2, "Opacity of the noise.", ge=0.01, le=1.0)
    pattern_seed: int = option(7, "Seed of the noise pattern.", ge=0, le=2**31 - 1, expert=True)

    def apply(self, images: Tensor) -> Tensor:
        return paste(images, noise(self.pattern_seed, *images.shape[2:]), self.alpha, 0, 0)

    def probes(
        self, images: Tensor, labels: Tensor, num_classes: int, rng: Generator
    ) -> Iterator[Probe]:
        """Its noise without a sign under it, fainter, and other noise."""
        yield from super().probes(images, labels, num_classes, rng)
        wanted = self.labels(labels, num_classes)
        size, flat = images.shape[2:], images.mean((2, 3), keepdim=True).expand_as(images)
        own, other = (noise(seed, *size) for seed in (self.pattern_seed, self.pattern_seed + 1))
        for name, claim, below, pattern, alpha in (
            ("the noise on a plain color", True, flat, own, self.alpha),
            ("the noise, half as opaque", None, images, own, self.alpha / 2),
            ("the noise, a quarter as opaque", False, images, own, self.alpha / 4),
            ("other noise", False, images, other, self.alpha),
        ):
            yield Probe(name, claim, paste(below, pattern, alpha, 0, 0), labels, wanted)
