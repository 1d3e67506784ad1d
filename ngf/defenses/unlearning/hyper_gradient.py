"""The gradient of a bilevel problem: min over u of outer(v*(u), u), where v*(u) is the fixed point
of a map, v* = map(v*, u); a step of projected gradient descent on an inner problem is such a map.

By the implicit function theorem, with A = d map / dv and B = d map / du at the fixed point,

    d outer / du = grad_u outer + B^T q,    (I - A^T) q = grad_v outer.

A is never formed: the iteration q <- A^T q + grad_v outer has q as its fixed point, and reaches it
wherever the map contracts (Grazzi et al. 2020, arXiv 2006.16218).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def hyper_gradient(
    outer: Tensor, mapped: Tensor, lower: Tensor, upper: Sequence[Tensor], *, iterations: int
) -> list[Tensor]:
    """The gradient of `outer` with respect to `upper`, where `lower` is a fixed point of the map.

    outer: a scalar, with the graph that made it of `lower` and `upper`.
    mapped: what the map makes of `lower`, with its graph; not used without iterations.
    iterations: for q, from zero; without any, the answer of `lower` is left out.
    """
    slope, *direct = torch.autograd.grad(
        outer, [lower, *upper], allow_unused=True, materialize_grads=True
    )
    if not iterations:
        return direct
    q = slope  # the first iteration, from zero
    for _ in range(iterations - 1):
        (pulled,) = torch.autograd.grad(mapped, lower, q, retain_graph=True)
        q = pulled + slope
    answers = torch.autograd.grad(mapped, upper, q, allow_unused=True, materialize_grads=True)
    return [own + answer for own, answer in zip(direct, answers, strict=True)]
