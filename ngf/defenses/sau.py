"""SAU, shared adversarial unlearning (Wei et al. 2023, arXiv 2307.10562): unlearn adversarial
examples that the network shares with the one it was.

Some adversarial images of the backdoored network f0 are ones that its backdoor answers to. Images
that f and f0 both give one wrong class are *shared*; they are searched for, image by image,

    min over |d|_inf <= e of  b1 A + b2 S
    A = -1/2 mean(CE(f(x + d), y) [f not fooled] + CE(f0(x + d), y) [f0 not fooled])
    S = mean(JS(f(x + d), f0(x + d)) [not shared])

by a few steps of size s along the signs of the gradient, from random corners d = +-e, and are no
longer to be so after the unlearning of

    CE(f(x), y) + l mean(-ln(1 - p(y0)) [f0 fooled]),  y0 = argmax f0(x + d), p = softmax f(x + d)

JS is the Jensen-Shannon divergence (nats), [.] is 1 or 0, and means are over all images.
BackdoorBench (config sau) has e = s = 0.2, 5 steps, b = (0.01, 1), l = 1; on 2,500 images, 100
epochs of 256 with Adam at 0.0001, BatchNorm in eval mode. Its second term is the same quantity
written twice, as ln(1 - p(y0)) and as the logarithm of the other classes' sum.

Changed: fewer steps at a larger rate, and half of a batch is attacked. Images stay within [0, 1].
The strength is the learning rate.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ngf.defenses.budget import Budget
from ngf.defenses.contract import Problem, Step
from ngf.defenses.fine_tuning.options import augmentation, batch_size, steps
from ngf.defenses.unlearning import options
from ngf.defenses.unlearning.loop import Unlearning, UnlearningDefense, UnlearningStep, share_of
from ngf.options import check_fields, option


@dataclass(frozen=True, kw_only=True)
class SAU(UnlearningDefense):
    """Unlearns adversarial examples that the network shares with the one it was."""

    title: ClassVar[str] = "SAU (shared adversarial unlearning)"
    usual: ClassVar[float] = 1e-3
    paper: ClassVar[Budget] = Budget(
        "github SCLBD/BackdoorBench, config sau: 100 epochs of 2,500 images in batches "
        "of 256, that is 1,000 steps, on a share of 1 of each batch.",
        {
            "lr": 0.0001,
            "steps": 1000,
            "weight": 1.0,
            "size": 0.2,
            "inner_steps": 5,
            "inner_size": 0.2,
            "adversarial": 0.01,
            "agreement": 1.0,
            "attacked": 1.0,
            "batch_size": 256,
            "batch_norm": "eval",
        },
    )
    lr: float = options.lr(1e-3)
    steps: int = steps()
    weight: float = option(
        1.0, "Weight of the shared examples beside the clean images.", ge=0.0, le=100.0
    )
    size: float = option(
        0.2,
        "Largest change of a pixel in an adversarial example, of a range of one.",
        ge=1e-4,
        le=1.0,
    )
    inner_steps: int = option(
        5, "Steps of an attack on the images of one step.", ge=1, le=100, expert=True
    )
    inner_size: float = option(
        0.2, "Length of such a step, for each pixel.", ge=1e-4, le=1.0, expert=True
    )
    adversarial: float = option(
        0.01, "Weight of fooling both networks in an attack.", ge=0.0, le=100.0, expert=True
    )
    agreement: float = option(
        1.0, "Weight of the two networks' agreement in an attack.", ge=0.0, le=100.0, expert=True
    )
    attacked: float = option(
        0.5, "Share of a batch that is attacked.", ge=0.001, le=1.0, expert=True
    )
    batch_size: int = batch_size()
    batch_norm: str = options.batch_norm("eval")
    augmentation: str = augmentation()

    def __post_init__(self) -> None:
        check_fields(self)

    def purify(self, problem: Problem) -> SharedUnlearning:
        return SharedUnlearning(self, problem)


@dataclass(frozen=True)
class SharedStep(UnlearningStep):
    """shared: share of the attacked images that both networks gave one wrong class; None at the
    start.
    """

    shared: float | None


class SharedUnlearning(Unlearning):
    """A SAU in progress.

    before: the network as it came, f0.
    """

    defense: SAU

    def __init__(self, defense: SAU, problem: Problem) -> None:
        super().__init__(defense, problem, defense.steps)
        self.before = copy.deepcopy(problem.model).eval().requires_grad_(False)
        self.shared: float | None = None

    def advance(self, rng: Generator) -> float:
        self.phase = "unlearn"
        images, labels = self.batches.draw(rng)
        count = max(1, round(self.defense.attacked * len(images)))
        attacked, truth = images[:count], labels[:count]
        examples = self.attack(attacked, truth, rng)
        with torch.no_grad():
            before = self.before(examples)
        self.for_unlearning()
        logits, now = self.model(torch.cat([images, examples])).split([len(images), count])
        clean = F.cross_entropy(logits, labels)
        loss = clean + self.defense.weight * shared_loss(now, before, truth)
        self.descend(self.gradients(loss), self.lr)
        self.fooled = share_of(now.argmax(1) != truth)
        self.shared = share_of(is_shared(now, before, truth))
        return clean.item()

    def attack(self, images: Tensor, labels: Tensor, rng: Generator) -> Tensor:
        """Adversarial examples of both networks; BatchNorm in eval mode."""
        settings = self.defense
        corners = torch.randint(0, 2, images.shape, generator=rng).to(images) * 2 - 1
        examples = (images + settings.size * corners).clamp(0, 1)
        for _ in range(settings.inner_steps):
            examples.requires_grad_(True)
            loss = attack_loss(
                self.model(examples),
                self.before(examples),
                labels,
                adversarial=settings.adversarial,
                agreement=settings.agreement,
            )
            (slope,) = torch.autograd.grad(loss, examples)
            examples = examples.detach() - settings.inner_size * slope.sign()
            change = (examples - images).clamp(-settings.size, settings.size)
            examples = (images + change).clamp(0, 1)
        return examples

    def event(self, loss: float | None) -> Step:
        return SharedStep(self.step, self.steps, loss, self.phase, self.fooled, self.shared)


def attack_loss(
    logits: Tensor, before: Tensor, labels: Tensor, *, adversarial: float, agreement: float
) -> Tensor:
    """b1 A + b2 S above, of the logits (N, K) of f and f0."""
    missed = sum(
        F.cross_entropy(outputs, labels, reduction="none") * (outputs.argmax(1) == labels)
        for outputs in (logits, before)
    )
    apart = jensen_shannon(logits, before) * ~is_shared(logits, before, labels)
    return (agreement * apart - adversarial * missed / 2).mean()


def shared_loss(logits: Tensor, before: Tensor, labels: Tensor) -> Tensor:
    """The mean of -ln(1 - p(y0)) where f0 is fooled, over all images: nats."""
    wrong = before.argmax(1)
    others = logits.scatter(1, wrong[:, None], -torch.inf)
    losses = logits.logsumexp(1) - others.logsumexp(1)
    return (losses * (wrong != labels)).mean()


def is_shared(logits: Tensor, before: Tensor, labels: Tensor) -> Tensor:
    """Which images both networks give one wrong class: bool (N,)."""
    called = logits.argmax(1)
    return (called == before.argmax(1)) & (called != labels)


def jensen_shannon(logits: Tensor, others: Tensor) -> Tensor:
    """The divergence between the softmax of each row and its counterpart, in nats: (N,)."""
    p, q = logits.log_softmax(1), others.log_softmax(1)
    middle = torch.logaddexp(p, q) - torch.log(torch.tensor(2.0, dtype=p.dtype, device=p.device))
    return ((p.exp() * (p - middle) + q.exp() * (q - middle)) / 2).sum(1)
