"""What every attack shares: which images count, which may be poisoned, which label is wanted,
what was learned.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Self

import torch
from torch import Tensor

from ngf.config import SpecError, check_fields


class Attack:
    """Base of the attacks: all-to-one towards `target` unless `mode` says all-to-all.

    A subclass is a frozen dataclass with `target` and `poison_rate`, and `apply(images)`: float (N,
    C, H, W) in [0, 1] -> the same with the trigger, a new tensor; deterministic.

    Three kinds, by what a subclass has besides:
    - a formula needs nothing more;
    - a trigger made before training has `prepare(scene) -> dict of tensors` (see
      `ngf.training.attacker.Scene`);
    - an attacker who controls training has `control(scene, model) -> Control` (see there). What the
      last two learn is kept with the run and given back by `with_trigger`; `self.trigger` holds it.

    Optional: `cover(images, labels, rng)`, images that get noise or a trigger and keep their label;
    `cover_rate` of all images, drawn from `cover_candidates`. `apply_train(images, index, rng)`,
    where training images carry another trigger than test images; index: int64 (N,), their places in
    the training set. A `prepare` that makes something for this alone leaves `learned` False: the
    trigger itself is a formula.
    """

    # Clean-label attacks poison images of the target class and change no label.
    clean_label: ClassVar[bool] = False
    # Whether there is no trigger before `prepare` or `control` has made one.
    learned: ClassVar[bool] = False
    mode: str = "all-to-one"
    target: int

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def trigger(self) -> Mapping[str, Tensor]:
        """What was learned, by name. Raises SpecError when nothing was yet."""
        found = self.__dict__.get("_trigger")
        if found is None:
            raise SpecError(
                f"The trigger of {type(self).__name__} is learned in training; there is none "
                "before."
            )
        return found

    def with_trigger(self, trigger: Mapping[str, Tensor]) -> Self:
        """The same attack holding a learned trigger."""
        other = copy.copy(self)
        object.__setattr__(
            other, "_trigger", MappingProxyType(dict(trigger))
        )  # the dataclass is frozen
        return other

    def check(self, num_classes: int, shape: tuple[int, int, int]) -> None:
        """Raise SpecError, before anything is trained, if the attack does not suit the data.

        shape: (C, H, W). A subclass adds its own conditions and calls this.
        """
        if not 0 <= self.target < num_classes:
            raise SpecError(
                f"Target class {self.target} does not exist. Allowed: 0 to {num_classes - 1}."
            )
        if not self.learned:
            self.apply(torch.zeros(1, *shape))  # a trigger that does not fit says so

    def labels(self, labels: Tensor, num_classes: int) -> Tensor:
        """What the attacker wants triggered images of these true classes to be called."""
        if self.mode == "all-to-all":
            return (labels + 1) % num_classes
        return torch.full_like(labels, self.target)

    def asr_mask(self, labels: Tensor) -> Tensor:
        """bool: which test images count for the ASR; all but the target class, or all in
        all-to-all.
        """
        if self.mode == "all-to-all":
            return torch.ones_like(labels, dtype=torch.bool)
        return labels != self.target

    def candidates(self, labels: Tensor) -> Tensor:
        """bool: which training images may be poisoned."""
        return labels == self.target if self.clean_label else self.asr_mask(labels)

    def cover_candidates(self, labels: Tensor) -> Tensor:
        """bool: which training images may be cover images; those that are poisoned are left
        out later.
        """
        return torch.ones_like(labels, dtype=torch.bool)

    def asr_definition(self) -> str:
        """The ASR of this attack in one sentence."""
        if self.mode == "all-to-all":
            return "Share of triggered test images that are called the class after their true one."
        return (
            "Share of triggered test images, whose true class is not the target, that are called "
            "the target class."
        )


def paste(images: Tensor, pattern: Tensor, alpha: float, top: int, left: int) -> Tensor:
    """(1 - alpha) * image + alpha * pattern inside one rectangle.

    images: (N, C, H, W); pattern: (3, h, w), averaged to gray for images of one channel.
    """
    if images.shape[1] == 1:
        pattern = pattern.mean(0, keepdim=True)
    height, width = pattern.shape[1:]
    if top < 0 or left < 0 or top + height > images.shape[2] or left + width > images.shape[3]:
        raise SpecError(
            f"A trigger of {height}x{width} at row {top}, column {left} does not fit into an image "
            f"of {images.shape[2]}x{images.shape[3]}. Choose a smaller size or margin."
        )
    out = images.clone()
    window = out[:, :, top : top + height, left : left + width]
    window.mul_(1 - alpha).add_(pattern.to(images), alpha=alpha)
    return out
