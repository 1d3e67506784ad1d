"""RNP, reconstructive neuron pruning (Li et al. 2023, arXiv 2305.14876): unlearn clean images, then
see which channels are closed when they are to be known again.

1. Unlearn: ascend CE of clean images over all weights of a copy, until 20 % of them or less are
   called right.
2. Recover: keep these weights, and descend CE over masks m in [0, 1] of the channels of
   normalization layers, from m = 1:  m <- clip(m - lr alpha grad CE(m w), 0, 1).
3. Prune: in the model as it came, the weights w of all channels with m <= threshold become 0;
   biases stay.

Clean images pass through most channels, so ascent moves those; what is left of the network is
ruled by what clean images do not use, the backdoor among it, and recovery closes it first.

The threshold is the strength. The paper's budget (github bboylyg/RNP): 1 % of CIFAR-10 in batches
of 128; at most 20 epochs of unlearning at rate 0.01, momentum 0.9, weight decay 5e-4; 20 of
recovery at rate 0.2, momentum 0.9, alpha 0.2; thresholds from 0 to 0.9.

Changed: a shorter recovery at a smaller rate, by clean accuracy alone: masks that have come to 0
can no longer be told apart, and at rate 0.2, 0.1 or 0.05 even the least threshold costs some of the
models of seed 0 on signs (benign, BadNets, WaNet) more than a point of it, at 0.02 none. Unlearning
ends by the accuracy on the images of a step, its rate is constant, LayerNorm carries masks where
there is no BatchNorm, and clean images choose the threshold, which the public code leaves to the
reader. That code clips gradients before they are there, so not at all; here they are not clipped
either.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F

from ngf.defenses.batches import Batches
from ngf.defenses.budget import Budget
from ngf.defenses.contract import Problem
from ngf.defenses.fine_tuning import options
from ngf.defenses.fine_tuning.loop import few
from ngf.defenses.masking import channels
from ngf.defenses.masking import options as masking
from ngf.defenses.masking.ascent import Ascent
from ngf.defenses.masking.learning import LearnThenPrune, MaskLearner
from ngf.defenses.work import Phase
from ngf.models import flow
from ngf.options import check_fields, option


@dataclass(frozen=True, kw_only=True)
class RNP:
    """Unlearns clean images, and prunes the channels that are closed to know them again."""

    title: ClassVar[str] = "RNP (reconstructive neuron pruning)"
    phases: ClassVar[tuple[Phase, ...]] = (
        Phase("unlearn", "unlearn_steps", "3"),
        Phase("mask", "steps", "3"),
    )
    paper: ClassVar[Budget] = Budget(
        "github bboylyg/RNP, 500 images: 20 epochs of each phase are 80 steps of 128; "
        "clean images choose the threshold.",
        {
            "steps": 80,
            "lr": 0.2,
            "alpha": 0.2,
            "unlearn_steps": 80,
            "unlearn_lr": 0.01,
            "unlearn_until": 0.2,
            "weight_decay": 0.0005,
            "batch_size": 128,
            "momentum": 0.9,
        },
    )
    threshold: float = masking.threshold()
    steps: int = option(40, "Steps of recovery, in which masks are learned.", ge=1, le=100_000)
    lr: float = option(0.02, "Learning rate of the masks.", ge=1e-6, le=1000.0, expert=True)
    alpha: float = option(
        0.2, "Factor of the loss while masks are learned.", ge=1e-6, le=1.0, expert=True
    )
    unlearn_steps: int = masking.unlearn_steps()
    unlearn_lr: float = masking.unlearn_lr(0.01)
    unlearn_until: float = masking.unlearn_until(0.2)
    weight_decay: float = option(
        5e-4, "L2 penalty on the weights while unlearning.", ge=0.0, le=1.0, expert=True
    )
    batch_size: int = options.batch_size()
    momentum: float = options.momentum()
    batch_norm: str = masking.batch_norm()
    augmentation: str = options.augmentation()

    def __post_init__(self) -> None:
        check_fields(self)

    def purify(self, problem: Problem) -> LearnThenPrune:
        """Raises SpecError for a model without channels to mask, and for too few images."""
        names = channels.norms(flow(problem.model, few(problem.clean)), "RNP")
        return LearnThenPrune(problem, partial(Recovery, self, names), self.threshold)


class Recovery(MaskLearner):
    """Unlearns the images of a problem, and then learns masks."""

    def __init__(self, settings: RNP, names: list[str], problem: Problem) -> None:
        super().__init__(
            channels.ones(problem.model, names),
            lr=settings.lr,
            momentum=settings.momentum,
            steps=settings.unlearn_steps + settings.steps,
        )
        self.settings, self.network = settings, copy.deepcopy(problem.model)
        self.batches = Batches(problem, settings.batch_size, settings.augmentation)
        self.ascent = Ascent(
            self.network,
            self.batches,
            lr=settings.unlearn_lr,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            until=settings.unlearn_until,
            steps=settings.unlearn_steps,
        )

    @property
    def phase(self) -> str:
        return "unlearn" if self.ascent.left else "mask"

    def advance(self, rng: torch.Generator) -> float:
        if self.ascent.left:
            loss = self.ascent.advance(rng)
            self.left = self.ascent.left + self.settings.steps
            return loss
        images, labels = self.batches.draw(rng)
        channels.freeze(self.network, self.settings.batch_norm)
        clean = F.cross_entropy(channels.logits(self.network, images, self.masks), labels)
        self.descend(self.settings.alpha * clean)
        self.left -= 1
        return clean.item()

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "ascent": self.ascent.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.ascent.load_state_dict(state["ascent"])
