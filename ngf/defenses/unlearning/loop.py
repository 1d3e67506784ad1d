"""What defenses that unlearn have in common: an optimizer over all weights, a rate that may be
chosen, the mode of BatchNorm, and what a step tells.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from ngf.defenses.batches import Batches
from ngf.defenses.contract import Defense, Event, Problem, Step
from ngf.defenses.stepwise import Stepwise
from ngf.defenses.strength import of_option
from ngf.options import SpecError


class UnlearningDefense:
    """Base of the defenses that unlearn: frozen dataclasses with the fields below.

    usual: the rate that the rule tries first, where `lr` is 0.
    """

    usual: ClassVar[float]
    lr: float
    batch_size: int
    batch_norm: str
    augmentation: str

    def with_choices_made(self, problem: Problem, *, steps: int) -> Defense:
        """The same defense with a rate that is given. It plans as many steps as ever: its phases
        have each a number of their own.
        """
        return cast(Defense, replace(cast(Any, self), lr=self.lr or self.usual))


@dataclass(frozen=True)
class UnlearningStep(Step):
    """The model after one more step of a search or of an unlearning.

    phase: what this step was part of, in a word; "" at the start.
    fooled: share of the images that this step has shown with what was found (a perturbation, a
        trigger, a generator) which it sends to another class; None where none were.
    """

    phase: str
    fooled: float | None


class Unlearning(Stepwise):
    """A purification in progress that moves all weights, by `descend`.

    phase, fooled: of the step that is under way, for its event.
    descents: how many steps have moved the weights.
    """

    def __init__(self, defense: UnlearningDefense, problem: Problem, steps: int) -> None:
        """Raises SpecError for fewer clean images than two."""
        super().__init__(problem, steps)
        if len(problem.clean) < 2:
            raise SpecError(
                "Unlearning takes at least two clean images. Give the defender more of them."
            )
        self.defense = defense
        self.lr, self.why = defense.lr, ""
        self.batches = Batches(problem, defense.batch_size, defense.augmentation)
        self.model.requires_grad_(True)
        self.weights: list[Tensor] = list(self.model.parameters())
        self.optimizer = self.optimizer_of(self.weights)
        self.phase, self.fooled, self.descents = "", cast("float | None", None), 0

    def optimizer_of(self, weights: list[Tensor]) -> Optimizer:
        """torch's own over the weights; each step sets its rate."""
        return torch.optim.Adam(weights)

    def prepared(self) -> Generator[Event, None, None]:
        if not self.lr:
            self.lr, self.why = yield from of_option(
                cast(Defense, self.defense), self.problem, "lr", self.defense.usual
            )

    def for_unlearning(self) -> None:
        """Put BatchNorm in the mode that the unlearning has; after a step all is in eval mode."""
        self.model.train(self.defense.batch_norm == "train")

    def gradients(self, loss: Tensor) -> list[Tensor]:
        """Of a loss, for all weights; zero where it does not depend on one."""
        return list(
            torch.autograd.grad(loss, self.weights, allow_unused=True, materialize_grads=True)
        )

    def descend(self, gradients: Sequence[Tensor], lr: float) -> None:
        """One step of the optimizer along these gradients."""
        for weight, gradient in zip(self.weights, gradients, strict=True):
            weight.grad = gradient
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.descents += 1

    def event(self, loss: float | None) -> Step:
        return UnlearningStep(self.step, self.steps, loss, self.phase, self.fooled)

    def kept(self) -> dict[str, Any]:
        return {
            "lr": self.lr,
            "why": self.why,
            "descents": self.descents,
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        self.lr, self.why, self.descents = kept["lr"], kept["why"], kept["descents"]
        self.optimizer.load_state_dict(kept["optimizer"])

    def summary(self) -> dict[str, Any]:
        about = {"lr": self.lr, "why": self.why} if self.lr else {}
        return {"steps": max(0, self.step), "did": self.did(), **about}

    def did(self) -> str:
        """What was done, in words."""
        return f"unlearned in {self.descents} steps at learning rate {self.lr:g}"


def carriers(images: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """Which images of a batch carry what is unlearned: a share of them and one at least, by
    chance. int64 (n,).
    """
    count = max(1, round(share * len(images)))
    return torch.randperm(len(images), generator=rng)[:count].to(images.device)


def clean_loss(logits: Tensor, labels: Tensor, carry: Tensor) -> float:
    """The cross-entropy (nats) on the images of a batch that carry nothing; on all where all do."""
    clean = torch.ones_like(labels, dtype=torch.bool).index_fill(0, carry, False)
    if not bool(clean.any()):
        clean = ~clean
    return F.cross_entropy(logits.detach()[clean], labels[clean]).item()


def share_of(mask: Tensor) -> float:
    """The share of true entries; 0 of none."""
    return mask.float().mean().item() if mask.numel() else 0.0
