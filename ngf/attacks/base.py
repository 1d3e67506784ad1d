"""What every attack shares: which images count, which may be poisoned, which label is wanted,
what was learned. What only some have is a mix-in below.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Self

import torch
from torch import Generator, Tensor, nn

from ngf.attacks.shared.fit import ROOM, check_inside
from ngf.options import SpecError, check_fields
from ngf.training.attacker import AttackerView, InLoopAttacker


@dataclass(frozen=True)
class Probe:
    """Images that tell whether something opens the backdoor.

    name: what the images have, in the words of a table: "another image's noise".
    opens: what the attack claims: True, it opens the backdoor; False, it does not; None, nothing is
        claimed, and the figure is shown for what it is.
    images: float (N, C, H, W) in [0, 1], what the model is shown.
    labels: int64 (N,), their true classes.
    wanted: int64 (N,), what the attacker wants them to be called.
    """

    name: str
    opens: bool | None
    images: Tensor
    labels: Tensor
    wanted: Tensor


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
    # Whether what the trigger changes in one image opens the backdoor on others: True where one
    # pattern is added to all images, False where each has its own, None where it is not claimed.
    # A patch that replaces pixels is no sum, so its change on another image is another picture.
    change_opens: ClassVar[bool | None] = None
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

    def probes(
        self, images: Tensor, labels: Tensor, num_classes: int, rng: Generator
    ) -> Iterator[Probe]:
        """What opens the backdoor beside the trigger, and what does not: the trigger, none, the
        change that it makes in another image, and its mean change. A subclass extends these.

        images: clean held-out ones that count for the ASR, float (N, C, H, W) in [0, 1].
        labels: int64 (N,), their true classes.
        """
        wanted = self.labels(labels, num_classes)
        triggered = self.apply(images)
        change = triggered - images
        yield Probe("the trigger", True, triggered, labels, wanted)
        yield Probe("no trigger", False, images.clone(), labels, wanted)
        others = (images + change[ring(len(images), rng).to(images.device)]).clamp(0, 1)
        yield Probe("another image's change", self.change_opens, others, labels, wanted)
        mean = (images + change.mean(0)).clamp(0, 1)
        yield Probe("the mean change on every image", self.change_opens, mean, labels, wanted)

    def probes_elsewhere(
        self, images: Tensor, labels: Tensor, num_classes: int, rng: Generator
    ) -> Iterator[Probe]:
        """Probes on images that do not count for the ASR, where the attack says something of them;
        none by default.

        images: all clean held-out ones, float (N, C, H, W) in [0, 1].
        labels: int64 (N,), their true classes.
        """
        return iter(())

    def figures(self, images: Tensor) -> dict[str, float]:
        """Further figures of what defines the attack, by name in words: `{"bits read": 0.98}`.

        images: clean held-out ones that count for the ASR, float (N, C, H, W) in [0, 1].
        """
        return {}


def ring(count: int, rng: Generator) -> Tensor:
    """For each of `count` images another one, so that none gets its own: int64 (count,)."""
    # One ring through all of them, in random order.
    order = torch.randperm(count, generator=rng)
    other = torch.empty_like(order)
    other[order] = order.roll(1)
    return other


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
