"""TSBD, two-stage backdoor defense (Lin et al. 2024, arXiv 2405.20291): unlearn clean images, zero
what changed most in the neurons that changed most, then fine-tune towards a flat minimum.

1. Unlearn: ascend CE of clean images over all weights of a copy, until 10 % of them or less are
   called right. A neuron's weight change is NWC = sum |w' - w| over its incoming weights.
2. Zero: in the model as it came, of the share n of all neurons with the largest NWC, each neuron's
   70 % of weights with the largest |w' - w|.
3. Tune all layers: w <- w - lr ((1 - a) grad CE(w) + a grad CE(w + r grad CE / |grad CE|)),

which for a small r descends CE + a r |grad CE|. Neurons are output channels of convolutions, and of
linear layers before the classifier. The authors find that neurons which change most when a clean
task is unlearned are those which a trigger uses.

The strength is n. The paper's budget (github linweiii/TSBD): 5 % of CIFAR-10 in batches of 256,
unlearning at rate 1e-4, momentum 0.9; n of 1, 5 and 10 to 90 %; 20 epochs of tuning at rate 0.01,
momentum 0.9, weight decay 5e-5, a 0.7, r 0.05.

Changed: fewer images and steps at larger rates, no weight decay, momentum and schedule as for other
defenses; n by clean accuracy alone: 3 % costs the models of seed 0 on signs, benign, BadNets and
WaNet, 0.4, 0.9 and 0.6 points of it, 10 % costs the first two 1.1 and 2.2 (one purification seed).
Unlearning ends by the accuracy on the images of a step. The public code tries every n and reports
all of them, which leaves the choice to who knows the trigger; here clean images make it, or it is
given.
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from ngf.defenses.batches import Batches
from ngf.defenses.budget import Budget
from ngf.defenses.contract import Event, Problem
from ngf.defenses.fine_tuning import options
from ngf.defenses.fine_tuning.descent import Descent, scheduled
from ngf.defenses.fine_tuning.loop import Batch, Direction, FineTuning, few, scope
from ngf.defenses.fine_tuning.trust_region import norm
from ngf.defenses.masking import options as masking
from ngf.defenses.masking.ascent import Ascent
from ngf.defenses.masking.events import MaskStep
from ngf.defenses.masking.weights import before_classifier, weight_of
from ngf.defenses.stepwise import Stepwise
from ngf.defenses.strength import of_option
from ngf.defenses.work import Phase
from ngf.models import flow
from ngf.options import check_fields, option

USUAL = 0.03  # share of neurons that the rule tries first


@dataclass(frozen=True, kw_only=True)
class TSBD:
    """Zeroes what changes most when clean images are unlearned, then tunes towards a flat
    minimum.
    """

    title: ClassVar[str] = "TSBD (unlearning weight changes)"
    phases: ClassVar[tuple[Phase, ...]] = (
        Phase("unlearn", "unlearn_steps", "3"),
        Phase("tune", "steps", "6"),
    )
    paper: ClassVar[Budget] = Budget(
        "github linweiii/TSBD, 2,500 images: 20 epochs of 256 are 200 steps; clean "
        "images choose n (0), weights 0.7, unlearned to 0.1. Its weight decay is not "
        "here, and how long it may unlearn is not known.",
        {
            "neurons": 0.0,
            "steps": 200,
            "lr": 0.01,
            "alpha": 0.7,
            "radius": 0.05,
            "weights": 0.7,
            "unlearn_lr": 0.0001,
            "unlearn_until": 0.1,
            "batch_size": 256,
            "momentum": 0.9,
        },
    )
    neurons: float = option(
        USUAL,
        "Share of the neurons in which weights become zero; 0 chooses it: the largest that keeps "
        "accuracy on clean images that the method has not seen within one point.",
        ge=0.0,
        le=0.9,
    )
    steps: int = options.steps()
    lr: float = option(0.05, "Learning rate of the fine-tuning.", ge=1e-6, le=100.0)
    alpha: float = option(
        0.7, "Share of the gradient that is taken further up the loss.", ge=0.0, le=1.0, expert=True
    )
    radius: float = option(
        0.05, "How far up, as a length over all weights.", ge=0.0, le=100.0, expert=True
    )
    weights: float = option(
        0.7,
        "Share of the weights of such a neuron that become zero, the most changed first.",
        ge=0.01,
        le=1.0,
        expert=True,
    )
    unlearn_steps: int = masking.unlearn_steps()
    unlearn_lr: float = masking.unlearn_lr(0.01)
    unlearn_until: float = masking.unlearn_until(0.1)
    batch_size: int = options.batch_size()
    momentum: float = options.momentum()
    batch_norm: str = options.batch_norm()
    schedule: str = options.schedule()
    augmentation: str = options.augmentation()

    def __post_init__(self) -> None:
        check_fields(self)

    def purify(self, problem: Problem) -> TwoStages:
        """Raises SpecError for a model without a neuron before the classifier."""
        return TwoStages(self, problem)

    def with_choices_made(self, problem: Problem, *, steps: int) -> TSBD:
        """The fine-tuning alone, as nearly as can be."""
        return replace(self, neurons=self.neurons or USUAL, unlearn_steps=1, steps=steps)


class TwoStages(Stepwise):
    """A TSBD in progress: steps of unlearning, one that sets weights to zero, steps of tuning.

    zeroed: how many weights were set to zero.
    """

    def __init__(self, defense: TSBD, problem: Problem) -> None:
        super().__init__(problem, defense.unlearn_steps + 1 + defense.steps)
        self.flow = flow(self.model, few(problem.clean))
        self.names = before_classifier(self.flow, "TSBD")
        self.defense, self.share, self.why = defense, defense.neurons, ""
        self.unlearned, self.accuracy, self.zeroed = 0, 1.0, 0
        self.ascent: Ascent | None = self._ascent()
        self.tuning: FineTuning | None = None

    def _ascent(self) -> Ascent:
        d = self.defense
        return Ascent(
            copy.deepcopy(self.problem.model),
            Batches(self.problem, d.batch_size, d.augmentation),
            lr=d.unlearn_lr,
            momentum=d.momentum,
            weight_decay=0.0,
            until=d.unlearn_until,
            steps=d.unlearn_steps,
        )

    def prepared(self) -> Generator[Event, None, None]:
        if not self.share:
            self.share, self.why = yield from of_option(
                self.defense, self.problem, "neurons", USUAL
            )

    def advance(self, rng: torch.Generator) -> float | None:
        if self.tuning is not None:
            return next(iter(self.tuning)).loss
        assert self.ascent is not None
        if self.ascent.left:
            loss = self.ascent.advance(rng)
            self.unlearned, self.accuracy = self.step + 1, self.ascent.accuracy
            self.steps = self.unlearned + self.ascent.left + 1 + self.defense.steps
            return loss
        changes = {
            name: (weight_of(self.ascent.network, name) - weight_of(self.model, name)).abs()
            for name in self.names
        }
        gone = most_changed(changes, neurons=self.share, weights=self.defense.weights)
        for name, entries in gone.items():
            weight_of(self.model, name).masked_fill_(entries, 0)
        self.zeroed = sum(int(entries.sum()) for entries in gone.values())
        self._begin_tuning()
        return None

    def _begin_tuning(self) -> None:
        d = self.defense
        self.ascent = None
        self.tuning = FineTuning(
            self.model,
            self.problem,
            TowardsFlat(d),
            scope(self.flow, "all", norms=True),
            lr=d.lr,
            steps=d.steps,
            batch_size=d.batch_size,
            batch_norm=d.batch_norm,
            last=self.flow.last,
            augmentation=d.augmentation,
        )

    @property
    def phase(self) -> str:
        """Of the step that was made last."""
        if self.step <= self.unlearned:
            return "unlearn"
        return "prune" if self.step == self.unlearned + 1 else "tune"

    def event(self, loss: float | None) -> MaskStep:
        total = sum(weight_of(self.model, name).numel() for name in self.names)
        return MaskStep(self.step, self.steps, loss, self.phase, 1 - self.zeroed / total)

    def kept(self) -> dict[str, Any]:
        return {
            "neurons": self.share,
            "why": self.why,
            "unlearned": self.unlearned,
            "accuracy": self.accuracy,
            "zeroed": self.zeroed,
            "ascent": None if self.ascent is None else self.ascent.state_dict(),
            "tuning": None if self.tuning is None else self.tuning.state_dict(),
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        self.share, self.why = kept["neurons"], kept["why"]
        self.unlearned, self.accuracy = kept["unlearned"], kept["accuracy"]
        self.zeroed = kept["zeroed"]
        if kept["ascent"] is not None:
            self.ascent = self._ascent()
            self.ascent.load_state_dict(kept["ascent"])
        if kept["tuning"] is not None:
            self._begin_tuning()
            assert self.tuning is not None
            self.tuning.load_state_dict(kept["tuning"])

    def summary(self) -> dict[str, Any]:
        steps = max(0, self.step)
        did = f"unlearned {1 - self.accuracy:.0%} of the clean images"
        neurons = sum(len(weight_of(self.model, name)) for name in self.names)
        if self.zeroed:
            did += (
                f", set {self.zeroed:,} weights in {how_many(self.share, neurons)} of {neurons} "
                "neurons to zero"
            )
        if self.tuning is not None and self.tuning.step:
            did += (
                f", and tuned all layers in {self.tuning.step} steps at learning rate "
                f"{self.defense.lr:g}"
            )
        return {"steps": steps, "did": did, "neurons": self.share, "why": self.why}


def how_many(share: float, count: int) -> int:
    """A share of some things, one at least."""
    return max(1, round(share * count))


def most_changed(
    changes: Mapping[str, Tensor], *, neurons: float, weights: float
) -> dict[str, Tensor]:
    """What becomes zero: bool of the shape of each weight.

    changes: |w' - w| by layer, (out, ...).
    neurons: share of all rows, those of the largest sums first.
    weights: share of the entries in each of them, the largest first.
    """
    sums = torch.cat([change.flatten(1).sum(1) for change in changes.values()])
    chosen = torch.zeros_like(sums, dtype=torch.bool)
    chosen[sums.argsort(descending=True, stable=True)[: how_many(neurons, len(sums))]] = True
    gone = {}
    parts = chosen.split([len(change) for change in changes.values()])
    for (name, change), rows in zip(changes.items(), parts, strict=True):
        entries = torch.zeros_like(change.flatten(1), dtype=torch.bool)
        count = how_many(weights, entries.shape[1])
        largest = change.flatten(1).argsort(dim=1, descending=True, stable=True)[:, :count]
        entries.scatter_(1, largest, True)
        gone[name] = (entries & rows[:, None]).view_as(change)
    return gone


class TowardsFlat(Descent):
    """Descent of CE + a r |grad CE|, by the gradient at a point further up the loss."""

    tries = True

    def __init__(self, settings: TSBD) -> None:
        super().__init__(momentum=settings.momentum, schedule=settings.schedule)
        self.alpha, self.radius = settings.alpha, settings.radius

    def direction(self, batch: Batch, lr: float, step: int) -> Direction:
        length = norm(batch.gradients)
        rate = scheduled(lr, step, self.tuning.steps, self.schedule)
        if not length or not self.alpha:
            return Direction(batch.gradients, lr=rate)
        further = batch.gradients_after(batch.gradients, -self.radius / length)
        mixed = {
            name: (1 - self.alpha) * gradient + self.alpha * further[name]
            for name, gradient in batch.gradients.items()
        }
        return Direction(mixed, lr=rate)
