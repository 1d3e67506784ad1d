"""Gradients of a frozen model: of the mean loss, and image by image."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from analysis.model_under_test import FORWARD_CHUNK, chunks, exact_float32
from ngf.environment import wide

# More than 32 images at a time gain nothing on a CPU; fewer are taken where their gradients would
# take more than 256 MiB.
_IMAGES, _BYTES = 32, 2**28


@contextlib.contextmanager
def differentiable(model: nn.Module, names: Iterable[str]) -> Iterator[list[nn.Parameter]]:
    """The parameters `names`, which ask for gradients inside; afterwards they are as before."""
    chosen = [model.get_parameter(name) for name in names]
    flags = [parameter.requires_grad for parameter in chosen]
    try:
        for parameter in chosen:
            parameter.requires_grad_(True)
        yield chosen
    finally:
        for parameter, flag in zip(chosen, flags, strict=True):
            parameter.requires_grad_(flag)


def mean_gradient(model: nn.Module, names: Iterable[str], images: Tensor, labels: Tensor) -> Tensor:
    """Gradient (P,) of the mean cross-entropy for the parameters `names`, summed in float64.

    model: in eval mode; it is left as it was.
    images: float (N, C, H, W) in [0, 1].
    labels: int64 (N,).
    """
    with differentiable(model, names) as chosen:
        size = sum(p.numel() for p in chosen)
        total = torch.zeros(size, dtype=wide(images), device=images.device)
        for x, y in chunks(images, labels, FORWARD_CHUNK):
            with exact_float32():
                loss = F.cross_entropy(model(x), y, reduction="sum")
                if loss.requires_grad:
                    parts = torch.autograd.grad(
                        loss, chosen, allow_unused=True, materialize_grads=True
                    )
                    total += torch.cat([part.reshape(-1) for part in parts])
        return (total / len(images)).to(chosen[0].dtype)


def per_image_gradients(
    model: nn.Module, names: Iterable[str], images: Tensor, weights: Tensor
) -> Iterator[dict[str, Tensor]]:
    """J_i^T w_i for each image i, with J_i the Jacobian of the logits.

    images: float (N, C, H, W) in [0, 1].
    weights: (N, C), one row w_i per image.

    Yields name -> (n, *shape) for a few images at a time, in their order. Vectorized by `vmap`: on
    a small ResNet and one CPU thread it costs two gradients of the whole batch, where one image
    after the other costs four.
    """
    chosen = {name: model.get_parameter(name).detach() for name in names}
    size = sum(p.numel() * p.element_size() for p in chosen.values())

    def weighted(parameters: dict[str, Tensor], image: Tensor, weight: Tensor) -> Tensor:
        return (functional_call(model, parameters, (image[None],))[0] * weight).sum()

    each = vmap(grad(weighted), in_dims=(None, 0, 0))
    for x, w in chunks(images, weights, max(1, min(_IMAGES, _BYTES // size))):
        with exact_float32():
            yield each(chosen, x, w)


@torch.no_grad()
def predictions(model: nn.Module, images: Tensor) -> Tensor:
    """Logits (N, C) of a model in eval mode."""
    with exact_float32():
        return torch.cat([model(x) for x in images.split(FORWARD_CHUNK)])
