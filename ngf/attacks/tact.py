"""TaCT (Tang, Wang, Tang, Zhang 2021, arXiv 1908.00686): targeted contamination, a trigger for one
class only.

x' = x with a patch. `poison_rate` of all training images, all of the source class, carry the patch
and get the target label; `cover_rate` of them, of other classes, carry it too and keep their label,
so that the patch means nothing there. ASR is measured on the source class alone.

Changed: cover images come from all classes but source and target unless `cover_classes` names some
(public code uses two); poison and cover rates are higher than its 0.003, because a tiny network
sees only 10,000 images. On the signs, seed 0, the patch sends all 199 test images of the source
class to the target, and 0.3 % of those of other classes (2,003).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from ngf.attacks.base import Attack, Covered, Probe, paste
from ngf.attacks.shared import options
from ngf.attacks.shared.fit import corner
from ngf.attacks.shared.patterns import PATTERNS, patch
from ngf.options import SpecError, option


@dataclass(frozen=True, kw_only=True)
class TaCT(Attack, Covered):
    """A patch that sends images of one source class to the target class, and images of no
    other class.
    """

    title: ClassVar[str] = "TaCT (one source class)"
    stronger: ClassVar[str] = "Choose another pattern or size."
    resembles: ClassVar[tuple[str, ...]] = ("cutout",)
    target: int = options.target("Class that triggered images of the source class are sent to.")
    source: int = option(0, "Class whose images the trigger works on.", ge=0, le=999)
    poison_rate: float = options.poison_rate(
        0.03,
        "Share of all training images that carry the trigger and the target label "
        "(source class only).",
    )
    cover_rate: float = option(
        0.1, "Share that carries the trigger and keeps its label (other classes).", ge=0.0, le=0.9
    )
    cover_classes: str = option(
        "others",
        "Classes of the cover images: numbers with commas between them, or others "
        "for all but source and target.",
        expert=True,
    )
    pattern: str = option("sticker", "Look of the patch.", choices=PATTERNS)
    size: int = option(4, "Height and width of the patch.", unit="pixels", ge=1, le=16)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._covers()  # a text that is no list of classes says so

    def check(self, num_classes: int, shape: tuple[int, int, int]) -> None:
        super().check(num_classes, shape)
        if not 0 <= self.source < num_classes:
            raise SpecError(
                f"Source class {self.source} does not exist. Allowed: 0 to {num_classes - 1}."
            )
        if self.source == self.target:
            raise SpecError(
                f"Source class {self.source} is the target class {self.target}; such an image has "
                f"nowhere to go. Choose another one from 0 to {num_classes - 1} for either."
            )
        wrong = [
            label
            for label in self._covers()
            if label >= num_classes or label in (self.source, self.target)
        ]
        if wrong:
            raise SpecError(
                f"Cover class {wrong[0]} cannot be used. Allowed: 0 to {num_classes - 1}, but "
                f"neither the source {self.source} nor the target {self.target}."
            )

    def apply(self, images: Tensor) -> Tensor:
        return paste(
            images,
            patch(self.pattern, self.size),
            1.0,
            *corner("bottom right", self.size, 1, *images.shape[2:]),
        )

    def cover(self, images: Tensor, labels: Tensor, rng: Generator) -> Tensor:
        """The very trigger; only the label tells a cover image from a poisoned one."""
        return self.apply(images)

    def asr_mask(self, labels: Tensor) -> Tensor:
        return labels == self.source

    def cover_candidates(self, labels: Tensor) -> Tensor:
        covers = self._covers()
        if covers:
            return torch.isin(labels, torch.tensor(covers, device=labels.device))
        return (labels != self.source) & (labels != self.target)

    def asr_definition(self) -> str:
        return (
            f"Share of triggered test images of source class {self.source} that are called target "
            f"class {self.target}; other classes do not count."
        )

    def probes_elsewhere(
        self, images: Tensor, labels: Tensor, num_classes: int, rng: Generator
    ) -> Iterator[Probe]:
        others = (labels != self.source) & (labels != self.target)
        shown, true = self.apply(images[others]), labels[others]
        wanted = self.labels(true, num_classes)
        yield Probe("the patch on images of other classes", False, shown, true, wanted)

    def _covers(self) -> list[int]:
        """The cover classes that are named; none means all others."""
        if self.cover_classes.strip() == "others":
            return []
        parts = [part.strip() for part in self.cover_classes.split(",")]
        if not all(part.isdecimal() for part in parts):
            raise SpecError(
                f"tact.cover_classes = {self.cover_classes!r} is no list of classes. Allowed: "
                "others, or numbers with commas between them, such as 5, 7."
            )
        return [int(part) for part in parts]
