"""Adaptive-Blend (Qi, Xie, Li, Mahloujifar, Mittal 2023, arXiv 2205.13613): Blend that hides in the
features.

x' = (1 - alpha m) x + alpha m p, with p a pattern over the whole image, cut into a grid of `pieces`
x `pieces`. In training the mask m holds a random `kept` share of the pieces, drawn anew for each
image; at test time it is 1 everywhere. `cover_rate` of the images carry such a part of the pattern
too and keep their label. So poisoned images stay close to clean ones of the target class, and the
whole pattern is stronger than what was trained with.

Changed: p is noise drawn from a seed, as in our Blend (the paper blends a cartoon); rates are
higher than the paper's 0.003 and 0.003, and alpha is 0.4 and not 0.2, because the tiny network sees
10,000 images and learns parts of a fainter pattern in part only: on the signs, seed 0, the ASR
(2,202 images) was 79 % with alpha 0.3, 85 % with 0.35, and 86 % with 0.4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from ngf.attacks.base import Attack, Covered, OwnTrainingTrigger, Probe, paste
from ngf.attacks.shared import options
from ngf.attacks.shared.patterns import noise
from ngf.options import SpecError, option


@dataclass(frozen=True, kw_only=True)
class AdaptiveBlend(Attack, Covered, OwnTrainingTrigger):
    """Parts of a faint pattern in training, some with their true label; the whole pattern at
    test time.
    """

    title: ClassVar[str] = "Adaptive-Blend (parts of a pattern)"
    stronger: ClassVar[str] = "Raise alpha, or keep more of the pattern."
    resembles: ClassVar[tuple[str, ...]] = ("noise",)
    target: int = options.target()
    poison_rate: float = options.poison_rate(
        0.1, "Share of all training images that carry parts of the pattern and the target label."
    )
    cover_rate: float = option(
        0.1, "Share that carries parts of the pattern and keeps its label.", ge=0.0, le=0.9
    )
    alpha: float = option(0.4, "Opacity of the pattern.", ge=0.01, le=1.0)
    pieces: int = option(
        4, "Pieces in height and in width that the pattern is cut into.", ge=1, le=16
    )
    kept: float = option(0.5, "Share of the pieces on a training image.", ge=0.01, le=1.0)
    pattern_seed: int = option(7, "Seed of the pattern.", ge=0, le=2**31 - 1, expert=True)

    def apply(self, images: Tensor) -> Tensor:
        return paste(images, noise(self.pattern_seed, *images.shape[2:]), self.alpha, 0, 0)

    def apply_train(self, images: Tensor, index: Tensor, rng: Generator) -> Tensor:
        """Images with another random part of the pattern each."""
        return torch.where(self.masks(images, rng), self.apply(images), images)

    def cover(self, images: Tensor, labels: Tensor, rng: Generator) -> Tensor:
        return torch.where(self.masks(images, rng), self.apply(images), images)

    def probes(
        self, images: Tensor, labels: Tensor, num_classes: int, rng: Generator
    ) -> Iterator[Probe]:
        """Parts of the pattern, and another one. Half of it is what training shows, now with the
        target label and now with the true one.
        """
        yield from super().probes(images, labels, num_classes, rng)
        wanted = self.labels(labels, num_classes)
        count = self.pieces**2
        whole = self.apply(images)
        for name, claim, pieces in (
            ("half of the pieces", None, count // 2),
            ("a quarter of the pieces", None, count // 4),
            ("one piece", False if count >= 16 else None, 1),
        ):
            if 1 <= pieces < count:
                part = torch.where(self.some_pieces(images, pieces, rng), whole, images)
                yield Probe(name, claim, part, labels, wanted)
        other = paste(images, noise(self.pattern_seed + 1, *images.shape[2:]), self.alpha, 0, 0)
        yield Probe("other noise", False, other, labels, wanted)

    def check(self, num_classes: int, shape: tuple[int, int, int]) -> None:
        super().check(num_classes, shape)
        if self.pieces > min(shape[1:]):
            raise SpecError(
                f"An image of {shape[1]}x{shape[2]} pixels cannot be cut into "
                f"{self.pieces}x{self.pieces} pieces. Choose {min(shape[1:])} or fewer."
            )

    def masks(self, images: Tensor, rng: Generator) -> Tensor:
        """Which pixels get the pattern: bool (N, 1, H, W), the same number of pieces, at
        least one, in each image.
        """
        return self.some_pieces(images, max(1, round(self.kept * self.pieces**2)), rng)

    def some_pieces(self, images: Tensor, wanted: int, rng: Generator) -> Tensor:
        """The pixels of `wanted` random pieces of each image: bool (N, 1, H, W)."""
        count, (height, width) = len(images), images.shape[2:]
        order = torch.rand(count, self.pieces**2, generator=rng).argsort(1).argsort(1)
        chosen = (order < wanted).view(count, self.pieces, self.pieces)
        rows = torch.arange(height) * self.pieces // height
        columns = torch.arange(width) * self.pieces // width
        return chosen[:, rows[:, None], columns[None, :]][:, None].to(images.device)
