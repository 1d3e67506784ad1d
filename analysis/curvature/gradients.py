"""Gradients of a frozen model: of the mean loss, and image by image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from analysis.model_under_test import FORWARD_CHUNK, chunks, exact_float32
from ngf.environment import wide

# More than 32 images at a time gains nothing on a processor; fewer where their gradients would be
# large.
_IMAGES, _BYTES = 32, 2**28


def mean_gradient(model: nn.Module, names: Iterable[str], images: Tensor, labels: Tensor) -> Tensor:
    """Gradient (P,) of the mean cross-entropy for the parameters `names`, summed in float64.

    `model` must be in eval mode; which of its parameters ask for gradients is left as it was.
    """
    known = dict(model.named_parameters())
    chosen = [known[name] for name in names]
    flags = [parameter.requires_grad for parameter in chosen]
    dtype = wide(images)
    total = torch.zeros(sum(p.numel() for p in chosen), dtype=dtype, device=images.device)
    try:
        for parameter in chosen:
            parameter.requires_grad_(True)
        for x, y in chunks(images, labels, FORWARD_CHUNK):
            with exact_float32():
                loss = F.cross_entropy(model(x), y, reduction="sum")
                if loss.requires_grad:
                    parts = torch.autograd.grad(
                        loss, chosen, allow_unused=True, materialize_grads=True
                    )
                    total += torch.cat([part.reshape(-1) for part in parts])
    finally:
        for parameter, flag in zip(chosen, flags, strict=True):
            parameter.requires_grad_(flag)
    return (total / len(images)).to(chosen[0].dtype)


def per_image_gradients(
    model: nn.Module, names: Iterable[str], images: Tensor, weights: Tensor
) -> Iterator[dict[str, Tensor]]:
    """J_i^T w_i for each image i, with J_i the Jacobian of the logits and w_i a row of `weights`
    (N, C).

    Yields name -> (n, *shape) for a few images at a time, in their order. Vectorized by `vmap`: two
    gradients of the whole batch on a small ResNet and one CPU thread, where one image after the
    other costs four.
    """
    known = dict(model.named_parameters())
    chosen = {name: known[name].detach() for name in names}
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
