"""What every attack shares: which images count, which may be poisoned, which label is wanted,
what was learned. What only some have is a mix-in below.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Self

import torch
from torch import Generator, Tensor, nn

from ngf.attacks.shared.fit import ROOM, check_inside
from ngf.options import SpecError, check_fields
from ngf.training.attacker import AttackerView, InLoopAttacker


class Attack(ABC):
    """Base of the attacks: all-to-one towards `target` unless `mode` says all-to-all.

    A subclass is a frozen dataclass with `title`, `target` and `poison_rate`, and `apply`. An
    attack whose trigger is a formula needs nothing more. Otherwise it is also

    - `Prepared`, if something is made before training;
    - `InLoop`, if the attacker controls training;
    - `Covered`, if there are images that carry noise or a trigger and keep their label;
    - `OwnTrainingTrigger`, if training images carry another trigger than test images.

    What is learned is kept with the run and given back by `with_trigger`; `self.trigger` holds it.
    """

    title: ClassVar[str]
    # Clean-label attacks poison images of the target class and change no label.
    clean_label: ClassVar[bool] = False
    # Whether there is no trigger before training. A `prepare` that makes something for training
    # images alone leaves this False: the trigger itself is a formula.
    learned: ClassVar[bool] = False
    # What to do about a trigger that changes nothing, in a sentence.
    stronger: ClassVar[str] = "Choose other settings of the attack."
    # Kinds of augmentation (`ngf.augmentations.KINDS`) that look like the trigger: a defense that
    # uses them has it easier.
    resembles: ClassVar[tuple[str, ...]] = ()
    mode: str = "all-to-one"
    target: int
    poison_rate: float

    @abstractmethod
    def apply(self, images: Tensor) -> Tensor:
        """The images with the trigger, a new tensor: float (N, C, H, W) in [0, 1], as they came.

        Deterministic.
        """

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def trigger(self) -> Mapping[str, Tensor]:
        """What was learned, by name. Raises SpecError when nothing was yet."""
        found: Mapping[str, Tensor] | None = self.__dict__.get("_trigger")
        if found is None:
            raise SpecError(
                f"The trigger of {type(self).__name__} is learned in training; there is none "
                "before."
            )
        return found

    def with_trigger(self, trigger: Mapping[str, Tensor]) -> Self:
        """The same attack holding a learned trigger."""
        other = copy.copy(self)
        # The dataclass is frozen; this copy is not yet known to anybody.
        object.__setattr__(other, "_trigger", MappingProxyType(dict(trigger)))
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

    def asr_definition(self) -> str:
        """The ASR of this attack in one sentence."""
        if self.mode == "all-to-all":
            return "Share of triggered test images that are called the class after their true one."
        return (
            "Share of triggered test images, whose true class is not the target, that are called "
            "the target class."
        )


class Prepared(ABC):
    """An attack that makes its trigger, or its training images, before training."""

    @abstractmethod
    def prepare(self, view: AttackerView) -> dict[str, Tensor]:
        """What is made, by name, on the CPU, for `with_trigger`."""


class InLoop(ABC):
    """An attack that controls training and learns its trigger meanwhile."""

    @abstractmethod
    def attacker(self, view: AttackerView, model: nn.Module) -> InLoopAttacker:
        """The attacker who gives the loss of each batch. model: the victim, untrained."""


class Covered(ABC):
    """An attack with cover images, `cover_rate` of all, that keep their label."""

    cover_rate: float

    @abstractmethod
    def cover(self, images: Tensor, labels: Tensor, rng: Generator) -> Tensor:
        """Cover images: float (N, C, H, W) in [0, 1] -> the same shape. labels: int64 (N,)."""

    def cover_candidates(self, labels: Tensor) -> Tensor:
        """bool: which training images may be cover images, apart from those that are poisoned."""
        return torch.ones_like(labels, dtype=torch.bool)


class OwnTrainingTrigger(ABC):
    """An attack whose training images carry another trigger than its test images."""

    @abstractmethod
    def apply_train(self, images: Tensor, index: Tensor, rng: Generator) -> Tensor:
        """Training images with their trigger. index: int64 (N,), their places in the training
        set.
        """


def paste(images: Tensor, pattern: Tensor, alpha: float, top: int, left: int) -> Tensor:
    """(1 - alpha) * image + alpha * pattern inside one rectangle.

    images: (N, C, H, W).
    pattern: (3, h, w), averaged to gray for images of one channel.
    """
    if images.shape[1] == 1:
        pattern = pattern.mean(0, keepdim=True)
    height, width = pattern.shape[1:]
    image = (images.shape[2], images.shape[3])
    check_inside("A trigger", (height, width), (top, left), image, ROOM)
    out = images.clone()
    window = out[:, :, top : top + height, left : left + width]
    window.mul_(1 - alpha).add_(pattern.to(images), alpha=alpha)
    return out
