"""ANP, adversarial neuron pruning (Wu, Wang 2021, arXiv 2110.14430): prune the channels that a
disturbance of all channels needs most to make the network fail.

Each channel of a normalization layer has weight w and bias b. For each batch

    xi, beta ~ U(-eps, eps),   then   xi += eps sign(dL/dxi),  beta += eps sign(dL/dbeta),
        L = CE((m + xi) w, (1 + beta) b)
    m <- clip(m - lr grad of [alpha CE(m w, b) + (1 - alpha) CE((m + xi) w, (1 + beta) b)], 0, 1)

from m = 1. Then the weights w of all channels with m <= threshold become 0 in the model as it came;
biases stay. Backdoored networks can be disturbed into calling clean images the target class, by the
channels that the trigger uses: closing these helps most.

The threshold is the strength. The paper's budget (github csdongxian/ANP_backdoor): 1 % of CIFAR-10,
2,000 steps of 128 at rate 0.2, momentum 0.9, eps 0.4, alpha 0.2, thresholds up to 0.95. As there,
the one step of the disturbance is not projected back.

Changed: fewer steps, after the first twenty of which the mean mask of our networks stays about
where it is; LayerNorm carries masks where there is no BatchNorm. The public code leaves the choice
of the threshold to the reader, who looks at the attack success rate (BackdoorBench returns the
network with the lowest one on the test set); here clean images choose it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ngf.defenses.batches import Batches
from ngf.defenses.budget import Budget
from ngf.defenses.contract import Problem
from ngf.defenses.fine_tuning import options
from ngf.defenses.fine_tuning.loop import few
from ngf.defenses.masking import channels
from ngf.defenses.masking import options as masking
from ngf.defenses.masking.learning import LearnThenPrune, MaskLearner
from ngf.models import flow
from ngf.options import check_fields, option


@dataclass(frozen=True, kw_only=True)
class ANP:
    """Prunes the channels that a disturbance of all channels needs most to make clean images
    fail.
    """

    title: ClassVar[str] = "ANP (adversarial neuron pruning)"
    paper: ClassVar[Budget] = Budget(
        "github csdongxian/ANP_backdoor, 500 images; clean images choose the threshold.",
        {
            "steps": 2000,
            "lr": 0.2,
            "eps": 0.4,
            "alpha": 0.2,
            "batch_size": 128,
            "momentum": 0.9,
        },
    )
    threshold: float = masking.threshold()
    steps: int = option(100, "Steps of learning masks.", ge=1, le=100_000)
    lr: float = option(0.2, "Learning rate of the masks.", ge=1e-6, le=1000.0, expert=True)
    eps: float = option(
        0.4, "How far each channel is disturbed, in units of itself.", ge=0.0, le=10.0, expert=True
    )
    alpha: float = option(
        0.2,
        "Share of the loss that is counted without the disturbance.",
        ge=0.0,
        le=1.0,
        expert=True,
    )
    batch_size: int = options.batch_size()
    momentum: float = options.momentum()
    batch_norm: str = masking.batch_norm()
    augmentation: str = options.augmentation()

    def __post_init__(self) -> None:
        check_fields(self)

    def purify(self, problem: Problem) -> LearnThenPrune:
        """Raises SpecError for a model without channels to mask, and for too few images."""
        names = channels.norms(flow(problem.model, few(problem.clean)), "ANP")
        network = channels.network(problem.model, self.batch_norm)
        return LearnThenPrune(problem, partial(Adversary, self, network, names), self.threshold)


class Adversary(MaskLearner):
    """Learns the masks of a problem."""

    def __init__(
        self, settings: ANP, network: nn.Module, names: list[str], problem: Problem
    ) -> None:
        super().__init__(
            channels.ones(network, names),
            lr=settings.lr,
            momentum=settings.momentum,
            steps=settings.steps,
        )
        self.settings, self.network = settings, network
        self.batches = Batches(problem, settings.batch_size, settings.augmentation)

    def advance(self, rng: torch.Generator) -> float:
        images, labels = self.batches.draw(rng)
        noise = self.disturbance(images, labels, rng)
        clean = self.loss(images, labels)
        alpha = self.settings.alpha
        self.descend(alpha * clean + (1 - alpha) * self.loss(images, labels, *noise))
        self.left -= 1
        return clean.item()

    def loss(
        self,
        images: Tensor,
        labels: Tensor,
        weights: Mapping[str, Tensor] | None = None,
        biases: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """CE with masks m + xi on the weights and factors 1 + beta on the biases.

        weights, biases: xi and beta; 0 where they are not given.
        """
        masks: Mapping[str, Tensor] = self.masks
        if weights is not None:
            masks = {name: mask + weights[name] for name, mask in masks.items()}
        shifts = {name: 1 + noise for name, noise in (biases or {}).items()}
        return F.cross_entropy(channels.logits(self.network, images, masks, shifts), labels)

    def disturbance(
        self, images: Tensor, labels: Tensor, rng: torch.Generator
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The noise xi on weights and beta on biases, after its one step up the loss."""
        eps = self.settings.eps
        drawn = [
            {
                name: (eps * (2 * torch.rand(mask.shape, generator=rng) - 1)).to(mask)
                for name, mask in self.masks.items()
            }
            for _ in range(2)
        ]
        flat = [noise.requires_grad_(True) for noises in drawn for noise in noises.values()]
        slopes = torch.autograd.grad(
            self.loss(images, labels, *drawn), flat, materialize_grads=True
        )
        with torch.no_grad():
            for noise, slope in zip(flat, slopes, strict=True):
                noise.add_(eps * slope.sign())
        weights, biases = (
            {name: noise.detach() for name, noise in noises.items()} for noises in drawn
        )
        return weights, biases
