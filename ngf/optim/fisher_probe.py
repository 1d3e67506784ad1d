"""The Fisher information of a batch through one random gradient, which can be differentiated again.

With J_n the Jacobian of the logits of image n and p_n their softmax, the Fisher of a batch is
F = (1/N) sum_n J_n^T (diag p_n - p_n p_n^T) J_n, labels summed out. For random signs z_n = +-1 in C
dimensions

    u_n = sqrt(p_n) . z_n - p_n <sqrt(p_n), z_n>,   g = sum_n J_n^T u_n

E u_n u_n^T = diag p_n - p_n p_n^T, and the signs of two images are independent, so E g g^T = N F:
the squares of g, over N, are an unbiased estimate of the diagonal of F, and their sum one of its
trace. Labels drawn from p (the Gauss-Newton-Bartlett estimator, Liu et al. 2023, arXiv 2305.14342)
give that as well; but the drawing depends on the weights, so the gradient of that estimate is not
one of the gradient of the trace. Signs do not: here it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def draw_signs(logits: Tensor, rng: torch.Generator) -> Tensor:
    """The z_n of some logits (N, C). rng: on the CPU."""
    return (2 * torch.randint(0, 2, logits.shape, generator=rng) - 1).to(logits)


def residuals(logits: Tensor, signs: Tensor) -> Tensor:
    """The u_n above (N, C), as functions of the logits."""
    logs = logits.log_softmax(1)
    roots = (0.5 * logs).exp() * signs  # not the root of a p that may be 0: it has no derivative
    return roots - logs.exp() * roots.sum(1, keepdim=True)


def trace(logits: Tensor, parameters: Sequence[Tensor], signs: Tensor) -> Tensor:
    """An estimate of Tr F by one draw of signs: a scalar that can be differentiated with respect to
    the parameters.
    """
    found = torch.autograd.grad(logits, parameters, residuals(logits, signs), create_graph=True)
    return torch.stack([gradient.square().sum() for gradient in found]).sum() / len(logits)


def diagonal(
    model: nn.Module,
    parameters: Sequence[Tensor],
    images: Tensor,
    rng: torch.Generator,
    *,
    draws: int,
    group: int,
) -> list[Tensor]:
    """diag F over some images, in the shapes of the parameters, as a mean over `draws`; `group`
    images share a gradient, so smaller groups scatter less.

    model: in eval mode. images: float (N, C, H, W) in [0, 1].
    """
    total = [torch.zeros_like(parameter) for parameter in parameters]
    for part in images.split(group):
        logits = model(part)
        for _ in range(draws):
            u = residuals(logits.detach(), draw_signs(logits, rng))
            found = torch.autograd.grad(logits, parameters, u, retain_graph=True)
            for entry, gradient in zip(total, found, strict=True):
                entry += gradient.square() / (draws * len(images))
    return total
