"""Unlearning by decoupled benign features, what BTI-DBF(U) and PAM share (Xu et al. 2024, BTI-DBF,
ICLR; definitions below in its terms).

h(x) are the features that enter the classifier f2, so that f(x) = f2(h(x)). A round is:

1. Which features are benign: a mask a in [0, 1] for each, from 0, by Adam (rate 0.01)

       min over a of  CE(f2(a h), y) - CE(f2((1 - a) h), y)

   on the clean images. What they do not need stays at 0; the backdoor's features are among it.

2. What changes the others: a generator G, by Adam (rate 0.001)

       min over G of  -MSE((1 - a) h(x), (1 - a) h(Gx)) + w MSE(a h(x), a h(Gx))

   as long as MSE(x, Gx) and the MSE of the benign features are within bounds; where one is not,
   MSE(x, Gx) alone is descended. From the second round on CE(f(Gx), t) is added, with t the class
   that the generator of the first round sent most images of other classes to.

3. Unlearning: a share of a batch goes through G and keeps its labels;

       min over the weights of  CE(f(x'), y) + MSE(h(Gx), h(x))

   where h(x) is that of the clean images as the weights are, and no gradient goes through it.

An MSE of features is in units of the mean square of h(x), so that its bound and its weight mean the
same in every network.
"""

from __future__ import annotations

from collections.abc import Generator as Generating
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ngf.attacks.shared.generator import UNet
from ngf.data.images import to_float
from ngf.defenses.contract import Problem, Step
from ngf.defenses.fine_tuning.loop import few
from ngf.defenses.unlearning.loop import (
    Unlearning,
    UnlearningDefense,
    UnlearningStep,
    carriers,
    clean_loss,
    share_of,
)
from ngf.defenses.work import Phase
from ngf.models import flow
from ngf.options import SpecError, option

_MASK_LR, _MASK_ITERATIONS = 0.01, 100  # of Adam; in one step of the plan, for they take no time
_GENERATOR_LR, _WIDTH = 1e-3, 16
_FIRST_CHANGE = 0.1  # what the generator's last layer begins with, in units of torch's own
_CHUNK = 250  # images at once on the way to the classifier


class DecouplingDefense(UnlearningDefense):
    """The options of both methods; a subclass has them as fields, or as constants.

    rho: how far towards the model as it came a gradient is taken, as length over all weights.
    """

    phases: ClassVar[tuple[Phase, ...]] = (
        Phase("mask", "rounds * mask_steps", "clean / batch_size / mask_steps"),
        Phase(
            "search",
            "rounds * search_steps",
            "4 + clean / batch_size / rounds / search_steps",
        ),
        Phase("unlearn", "rounds * unlearn_steps", "3 + share"),
    )
    rho: float
    rounds: int
    mask_steps: int
    search_steps: int
    unlearn_steps: int
    share: float
    size: float
    benign_bound: float
    benign_weight: float


def mask_steps_option() -> Any:
    return option(
        10,
        f"Steps of a round that tell benign features from others, of {_MASK_ITERATIONS} iterations "
        "each.",
        ge=1,
        le=1000,
        expert=True,
    )


def size_option() -> Any:
    return option(
        0.02,
        "Largest mean squared change of a pixel by the generator, of a range of one.",
        ge=1e-6,
        le=1.0,
    )


def benign_bound_option() -> Any:
    return option(
        3.0,
        "Largest mean squared change of the benign features, in units of the features' own mean "
        "square.",
        ge=1e-6,
        le=1e6,
        expert=True,
    )


def benign_weight_option() -> Any:
    return option(
        0.01,
        "Weight of the benign features' change in the generator's loss.",
        ge=0.0,
        le=1e4,
        expert=True,
    )


class Restyling(nn.Module):
    """G(x) = clip(x + U(x)), with U a small U-Net; x and G(x) are (N, C, H, W) in [0, 1].

    It begins near the identity, not at it: there the square that is to grow has no gradient. The
    network is that of the attacks which learn a generator, so against those a defender has the
    right form by luck.
    """

    def __init__(self, channels: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.change = UNet(channels, channels, _WIDTH)
        with torch.no_grad():
            for parameter in self.change.leave.parameters():
                parameter.mul_(_FIRST_CHANGE)

    def forward(self, images: Tensor) -> Tensor:
        return (images + self.change(images)).clamp(0, 1)


@dataclass(frozen=True)
class DecouplingStep(UnlearningStep):
    """benign: share of the features that the mask calls benign, its mean; None at the start."""

    benign: float | None


class DecoupledUnlearning(Unlearning):
    """A purification in progress, in rounds of three phases.

    mask: a, one number for each feature.
    generator: G.
    target: t, None in the first round.
    """

    defense: DecouplingDefense

    def __init__(self, defense: DecouplingDefense, problem: Problem) -> None:
        """Raises SpecError where no linear layer makes the logits."""
        self.parts = (defense.mask_steps, defense.search_steps, defense.unlearn_steps)
        super().__init__(defense, problem, defense.rounds * sum(self.parts))
        self.last = flow(self.model, few(problem.clean)).last
        if not self.last:
            raise SpecError(
                "This defense looks for benign features among those that enter the linear layer "
                "which makes the logits, and this model has no such layer. Choose another defense."
            )
        weight = self.weights[0].detach()
        self.start = [value.detach().clone() for value in self.weights]
        self.generator = Restyling(problem.clean.shape[0], problem.seed).to(weight)
        self.generator_optimizer = torch.optim.Adam(self.generator.parameters(), _GENERATOR_LR)
        self.mask = weight.new_zeros(self.classifier.in_features)
        self.mask_optimizer = torch.optim.Adam([self.mask], _MASK_LR)
        self.target: int | None = None
        self._clean: Tensor | None = None

    @property
    def classifier(self) -> nn.Linear:
        layer = self.model.get_submodule(self.last)
        assert isinstance(layer, nn.Linear)
        return layer

    def advance(self, rng: Generator) -> float | None:
        round_, at = divmod(self.step, sum(self.parts))
        masking, searching, _ = self.parts
        if at < masking:
            self.phase, self.fooled = "mask", None
            self._decouple(first=at == 0)
            return None
        if at < masking + searching:
            self.phase = "search"
            self._invert(rng)
            if round_ == 0 and at == masking + searching - 1:
                self.target = self._favourite()
            return None
        self.phase = "unlearn"
        self._clean = None
        return self._unlearn(rng)

    # ---- 1. which features are benign

    def _decouple(self, first: bool) -> None:
        if first:
            self.mask = torch.zeros_like(self.mask)
            self.mask_optimizer = torch.optim.Adam([self.mask], _MASK_LR)
        linear, labels = self.classifier, self.problem.clean.labels
        with torch.no_grad():
            features = self._features()
        for _ in range(_MASK_ITERATIONS):
            mask = self.mask.requires_grad_(True)
            (self.mask.grad,) = torch.autograd.grad(
                decoupling_loss(linear, features, labels, mask), mask
            )
            self.mask.requires_grad_(False)
            self.mask_optimizer.step()
            self.mask.clamp_(0, 1)

    def _features(self) -> Tensor:
        """h of all clean images; kept until weights move."""
        if self._clean is None:
            parts = self.problem.clean.images.split(_CHUNK)
            self._clean = torch.cat([self.seen(self._float(part))[0] for part in parts]).detach()
        return self._clean

    def _float(self, images: Tensor) -> Tensor:
        return to_float(images).to(self.mask.dtype)

    def seen(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """h(x), (N, D), and the logits."""
        entering: list[Tensor] = []
        hook = self.classifier.register_forward_pre_hook(
            lambda _layer, inputs: entering.append(inputs[0])
        )
        try:
            logits = self.model(images)
        finally:
            hook.remove()
        return entering[0], logits

    # ---- 2. what changes the others

    def _invert(self, rng: Generator) -> None:
        images, labels = self.batches.draw(rng)
        with torch.no_grad():
            before, _ = self.seen(images)
        made = self.generator(images)
        after, logits = self.seen(made)
        loss = self.generator_loss(images, made, before, after)
        if self.target is not None:
            loss = loss + F.cross_entropy(logits, torch.full_like(labels, self.target))
        weights = list(self.generator.parameters())
        for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            weight.grad = gradient
        self.generator_optimizer.step()
        self.fooled = share_of(logits.argmax(1) != labels)

    def generator_loss(self, images: Tensor, made: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """That of phase 2 without the target. before, after: h(x), h(Gx)."""
        size = F.mse_loss(made, images)
        benign = moved(self.mask, before, after)
        if size > self.defense.size or benign > self.defense.benign_bound:
            return size
        return self.defense.benign_weight * benign - moved(1 - self.mask, before, after)

    @torch.no_grad()
    def _favourite(self) -> int:
        """The class that the generator sends most clean images of other classes to."""
        clean = self.problem.clean
        called = torch.cat(
            [self.model(self.generator(self._float(part))) for part in clean.images.split(_CHUNK)]
        ).argmax(1)
        wrong = called[called != clean.labels]
        found = wrong if len(wrong) else called
        return int(found.bincount().argmax())

    # ---- 3. unlearning

    def _unlearn(self, rng: Generator) -> float:
        images, labels = self.batches.draw(rng)
        carry = carriers(images, self.defense.share, rng)
        with torch.no_grad():
            made = self.generator(images[carry])
        with self.moved_back():
            with torch.no_grad():
                before, _ = self.seen(images[carry])
            self.for_unlearning()
            after, logits = self.seen(images.index_copy(0, carry, made))
            apart = moved(torch.ones_like(self.mask), before, after[carry])
            gradients = self.gradients(F.cross_entropy(logits, labels) + apart)
        self.descend(gradients, self.lr)
        self.fooled = share_of(logits[carry].argmax(1) != labels[carry])
        return clean_loss(logits, labels, carry)

    @contextmanager
    def moved_back(self) -> Generating[None, None, None]:
        """With the weights `rho` nearer to where they came from, and no further than there."""
        if not self.defense.rho:
            yield
            return
        here = [weight.detach().clone() for weight in self.weights]
        with torch.no_grad():
            ways = [start - now for start, now in zip(self.start, here, strict=True)]
            length = torch.stack([way.norm() for way in ways]).norm().item()
            share = min(1.0, self.defense.rho / length) if length else 0.0
            for weight, way in zip(self.weights, ways, strict=True):
                weight.add_(share * way)
        try:
            yield
        finally:
            with torch.no_grad():
                for weight, value in zip(self.weights, here, strict=True):
                    weight.copy_(value)

    # ---- what is told and kept

    def event(self, loss: float | None) -> Step:
        benign = self.mask.mean().item() if self.step > 0 else None
        return DecouplingStep(self.step, self.steps, loss, self.phase, self.fooled, benign)

    def summary(self) -> dict[str, Any]:
        return {**super().summary(), "target": self.target, "benign": self.mask.mean().item()}

    def kept(self) -> dict[str, Any]:
        return {
            **super().kept(),
            "mask": self.mask,
            "mask_optimizer": self.mask_optimizer.state_dict(),
            "generator": self.generator.state_dict(),
            "generator_optimizer": self.generator_optimizer.state_dict(),
            "target": self.target,
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        super().restore(kept)
        self.mask.copy_(kept["mask"])
        self.mask_optimizer.load_state_dict(kept["mask_optimizer"])
        self.generator.load_state_dict(kept["generator"])
        self.generator_optimizer.load_state_dict(kept["generator_optimizer"])
        self.target = kept["target"]


def decoupling_loss(linear: nn.Module, features: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """That of phase 1. features: (N, D); mask: (D,)."""
    needed = F.cross_entropy(linear(mask * features), labels)
    return needed - F.cross_entropy(linear((1 - mask) * features), labels)


def moved(weights: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """The MSE between weighted features, in units of the mean square of `before`."""
    return (weights * (after - before)).square().mean() / before.square().mean().clamp(min=1e-12)
