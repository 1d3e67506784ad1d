"""Slow definitions that the fast code is tested against: dense matrices, loops, one image at a
time.

They use nothing of the code under test.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from tests.helpers import cases


def dense_hessian(
    model: nn.Module, images: Tensor, labels: Tensor, names: Iterable[str] | None = None
) -> Tensor:
    """Second derivatives (P, P) of the mean cross-entropy, BatchNorm in eval mode, column by
    column.
    """
    flat, unflatten = _flat_parameters(model, names)
    frozen = copy.deepcopy(model).eval()

    def loss(theta: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(frozen, unflatten(theta), (images,)), labels)

    return torch.autograd.functional.hessian(loss, flat)


def dense_fisher(model: nn.Module, images: Tensor, names: Iterable[str] | None = None) -> Tensor:
    """1/n sum over images and classes of p(c) g g^T (P, P), with g the gradient of -log p(c)."""
    gradients, p = class_gradients(model, images, names)
    return torch.einsum("nc,ncp,ncq->pq", p, gradients, gradients) / len(images)


def class_gradients(
    model: nn.Module, images: Tensor, names: Iterable[str] | None = None
) -> tuple[Tensor, Tensor]:
    """Gradients (n, C, P) of -log p(c | image) and the probabilities (n, C)."""
    flat, unflatten = _flat_parameters(model, names)
    frozen = copy.deepcopy(model).eval()

    def minus_log_p(theta: Tensor) -> Tensor:
        return -functional_call(frozen, unflatten(theta), (images,)).log_softmax(1)

    gradients = torch.autograd.functional.jacobian(minus_log_p, flat)
    return gradients, (-minus_log_p(flat)).exp().detach()


def gradient(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Gradient (P,) of the mean cross-entropy, BatchNorm in eval mode."""
    frozen = copy.deepcopy(model).eval()
    loss = F.cross_entropy(frozen(images), labels)
    parts = torch.autograd.grad(
        loss, list(frozen.parameters()), allow_unused=True, materialize_grads=True
    )
    return torch.cat([part.reshape(-1) for part in parts])


def dense_input_hessians(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Second derivatives (n, D, D) of each image's cross-entropy for its own pixels, BatchNorm in
    eval mode, one image at a time.
    """
    frozen = copy.deepcopy(model).eval().requires_grad_(False)

    def loss(pixels: Tensor, image: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(frozen(pixels.view_as(image)[None]), label[None])

    return torch.stack(
        [
            torch.autograd.functional.hessian(
                lambda pixels, x=x, y=y: loss(pixels, x, y), x.reshape(-1), vectorize=True
            )
            for x, y in zip(images, labels, strict=True)
        ]
    )


def loss_and_accuracy(
    model: nn.Module, state: dict[str, Tensor], images: Tensor, labels: Tensor
) -> tuple[float, float]:
    """Mean loss and share of right answers, one image at a time, of a fresh copy that holds
    `state`.
    """
    fresh = copy.deepcopy(model).eval()
    fresh.load_state_dict(state)
    losses, right = [], 0
    with torch.no_grad():
        for image, label in zip(images, labels, strict=True):
            logits = fresh(image[None])
            losses.append(float(F.cross_entropy(logits, label[None])))
            right += int(logits.argmax()) == int(label)
    return sum(losses) / len(losses), right / len(losses)


def dense(operator) -> Tensor:
    """All columns of an operator: (P, P)."""
    return torch.stack(
        [operator @ unit for unit in torch.eye(operator.size, dtype=operator.dtype)], 1
    )


def naive_scaling(model: nn.Module, kind: str) -> Tensor:
    """The size of each weight (P,) as `kind` measures it, one weight after the other."""
    out = []
    for weight in [parameter.detach() for parameter in model.parameters()]:
        for place in np.ndindex(*weight.shape):
            if kind == "adaptive":
                out.append(abs(float(weight[place])))
            elif weight.ndim < 2:
                out.append(0.0)
            else:
                part = weight[place[0]] if kind == "filter" else weight
                out.append(float(part.reshape(-1).norm()))
    return torch.tensor(out, dtype=torch.float64)


def reestimated(model: nn.Module, state: dict[str, Tensor], images: Tensor) -> dict[str, Tensor]:
    """`state` with the statistics that the images give in train mode, all in one batch."""
    fresh = copy.deepcopy(model)
    fresh.load_state_dict(state)
    for module in fresh.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            module.reset_running_stats()
    with torch.no_grad():
        fresh.train()(images)
    return {k: v for k, v in fresh.state_dict().items() if v.is_floating_point()}


class DenseOperator:
    """A symmetric matrix as an operator; counts its products."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix, self.products = matrix, 0
        self.size, self.dtype, self.device = len(matrix), matrix.dtype, matrix.device

    def __matmul__(self, vector: Tensor) -> Tensor:
        self.products += 1
        return self.matrix @ vector


def spectrum_like_a_network(size: int, seed: int = 0) -> Tensor:
    """A symmetric matrix (size, size) with a bulk near zero, a few outliers and some negative
    values.
    """
    generator = torch.Generator().manual_seed(seed)
    values = 0.3 * torch.randn(size, generator=generator, dtype=torch.float64) ** 3
    values[:5] = torch.tensor([40.0, 17.0, 9.0, 5.0, 3.0], dtype=torch.float64)
    q, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    return (q * values) @ q.T


def _flat_parameters(model: nn.Module, names: Iterable[str] | None):
    known = {name: p.detach() for name, p in model.named_parameters()}
    chosen = {name: known[name] for name in (known if names is None else names)}
    sizes = [p.numel() for p in chosen.values()]

    def unflatten(theta: Tensor) -> dict[str, Tensor]:
        parts = theta.split(sizes)
        return {
            name: part.view_as(p) for (name, p), part in zip(chosen.items(), parts, strict=True)
        }

    return torch.cat([p.reshape(-1) for p in chosen.values()]), unflatten


def dense_outer_products(
    model: nn.Module, images: Tensor, labels: Tensor, names: Iterable[str] | None = None
) -> Tensor:
    """Mean of g g^T (P, P) over images and the columns of `labels` (n, draws), g the gradient
    of -log p(label).
    """
    gradients, _ = class_gradients(model, images, names)
    chosen = torch.stack([gradients[i, labels[i]] for i in range(len(images))])  # (n, draws, P)
    return torch.einsum("ndp,ndq->pq", chosen, chosen) / chosen.shape[:2].numel()


@functools.cache
def problem(name: str) -> cases.Problem:
    """The problem of this name in `cases`, and below its dense matrices: each is made once."""
    return cases.CASES[name]()


@functools.cache
def hessian_of(name: str) -> torch.Tensor:
    return dense_hessian(*problem(name))


@functools.cache
def fisher_of(name: str) -> torch.Tensor:
    return dense_fisher(*problem(name)[:2])


@functools.cache
def input_hessians_of(name: str) -> torch.Tensor:
    return dense_input_hessians(*problem(name))
