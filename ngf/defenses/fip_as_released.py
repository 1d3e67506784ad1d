"""What the public code of FIP does (github nazmul-karim170/FIP, src/Regularizer.py; Karim et al.
2024, arXiv 2409.00863): SGD, with noise in every fifth step.

The term that stands there for the trace of the Fisher information is

    eta_F (1/20) sum_s sum_j sum_{i <= j} <g_i, v_si>,   v_si ~ N(0, I), s = 1 ... 20

with g_i the gradient of a log-likelihood with respect to the i-th parameter tensor. It is linear in
v, so its expectation is zero and it is the trace of nothing: what it adds to the gradient is eta_F
times the Hessian of that log-likelihood times a random vector. The sums over i <= j come from a
line that stands in the loop over tensors instead of after it; they weigh tensor i of L by L - i, 0
the first. The log-likelihood is a mean over all pairs of an image and a label of the batch, since
`log_softmax(...)[:, target]` takes every label for every image. The pull towards the start is
commented out. BatchNorm in train mode; all is constant: rate 0.005, momentum 0.95.

Changed: the mean of the 20 normal vectors is drawn as one of a twentieth of the variance, which is
the same; images of a batch are drawn without replacement, and shifted by 2 pixels at most where the
code crops by up to 4; fewer than its 2,000 steps. Its eta_F is 0.5; the default here is the 0.001
of an earlier version. With 0.5, 100 steps leave a benign model (signs, seed 0, one purification
seed) 31 % clean accuracy, even at a tenth of the rate; with 0.01 they cost 0.7 points, with 0.001
none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from ngf.defenses.budget import Budget
from ngf.defenses.fine_tuning import options
from ngf.defenses.fine_tuning.choosing import FineTuningDefense
from ngf.defenses.fine_tuning.descent import Descent
from ngf.defenses.fine_tuning.loop import (
    Batch,
    Direction,
    Rule,
    gradient_matrices,
    parameters,
)
from ngf.models import Tuned
from ngf.options import check_fields, option

_PERIOD, _PROBES = 5, 20  # as released


@dataclass(frozen=True, kw_only=True)
class FIPAsReleased(FineTuningDefense):
    """The published code as it runs: SGD on all layers, with noise in every fifth gradient."""

    title: ClassVar[str] = "FIP as released (public code)"
    tunes_norms: ClassVar[bool] = True
    layer: ClassVar[str] = "all"  # type: ignore[misc]  # the release has no choice
    batch_norm: ClassVar[str] = "train"  # type: ignore[misc]
    usual: ClassVar[float] = 0.005
    paper: ClassVar[Budget] = Budget(
        "github nazmul-karim170/FIP, 500 images in batches of 128.",
        {
            "lr": 0.005,
            "eta_trace": 0.5,
            "steps": 2000,
            "batch_size": 128,
            "momentum": 0.95,
        },
    )
    lr: float = option(0.005, options.LR_HELP, ge=0.0, le=100.0)
    eta_trace: float = option(
        0.001, "Weight eta_F of what the code takes for the Fisher trace.", ge=0.0, le=100.0
    )
    steps: int = options.steps(500)
    batch_size: int = options.batch_size()
    momentum: float = option(0.95, "Heavy-ball momentum.", ge=0.0, le=0.999, expert=True)
    augmentation: str = options.augmentation("weak")

    def __post_init__(self) -> None:
        check_fields(self)

    def rule(self, layers: Mapping[str, Tuned], last: str) -> Rule:
        return _ReleasedRule(self)


class _ReleasedRule(Descent):
    def __init__(self, settings: FIPAsReleased) -> None:
        super().__init__(momentum=settings.momentum)
        self.eta = settings.eta_trace

    def direction(self, batch: Batch, lr: float, step: int) -> Direction:
        plain = super().direction(batch, lr, step)
        if step % _PERIOD or not self.eta:
            return plain
        layers = self.tuning.layers
        noise = gradient_matrices(
            released_trace(
                batch.logits,
                batch.labels,
                [tensor for layer in layers.values() for tensor in parameters(layer)],
                batch.rng,
            ),
            layers,
        )
        return replace(
            plain,
            matrices={name: g + self.eta * noise[name] for name, g in plain.matrices.items()},
        )


def released_trace(
    logits: Tensor, labels: Tensor, tensors: list[Tensor], rng: torch.Generator
) -> Tensor:
    """The term of the formula above without its weight, to be differentiated. rng: on the CPU."""
    likelihood = logits.log_softmax(1)[:, labels].mean()
    gradients = torch.autograd.grad(likelihood, tensors, create_graph=True)
    parts = [
        (len(tensors) - i) * (gradient * _mean_of_normals(gradient, rng)).sum()
        for i, gradient in enumerate(gradients)
    ]
    return torch.stack(parts).sum()


def _mean_of_normals(like: Tensor, rng: torch.Generator) -> Tensor:
    drawn = torch.randn(like.shape, generator=rng, dtype=like.dtype)
    return (drawn / math.sqrt(_PROBES)).to(like.device)
