"""The directions of steepest curvature, scaled so that the same distance means the same
predicted rise of the loss.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from analysis.curvature.krylov import lanczos
from analysis.curvature.operators import Hessian
from analysis.landscape.directions import Direction, from_flat
from analysis.landscape.loss_at import one_thread

UNIT = "1 where the quadratic model rises by 1 nat, d where by d^2"
_TOLERANCE = 0.01  # residual of a converged eigenvalue, relative to it
_MOST_PRODUCTS = 40  # for two; more for more


@dataclass(frozen=True, kw_only=True)
class Eigenvector:
    """value: of the Hessian; error: an eigenvalue lies within it; direction: v sqrt(2 / value) for
    the unit vector v.

    At distance d along the direction, value |d v sqrt(2 / value)|^2 / 2 = d^2.
    """

    value: float
    error: float
    direction: Direction


def top_eigenvectors(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    names: Sequence[str],
    count: int,
    generator: Generator,
) -> Iterator[tuple[list[Eigenvector], int]]:
    """Yield the `count` largest so far, descending, and the number of products; the last ones have
    converged.

    Or they are as good as 40 products (20 more for each after the second) make them; `error` says
    so. Yields only when all are positive. Raises ValueError if there are fewer than `count`
    directions of positive curvature.
    """
    operator = Hessian(model, images, labels, names=names)
    shapes = {name: p.shape for name, p in model.named_parameters()}
    stream = lanczos(operator, _MOST_PRODUCTS + 20 * max(0, count - 2), generator)
    found: list[Eigenvector] = []
    while True:
        with one_thread():
            ritz = next(stream, None)
        if ritz is None:
            break
        values, errors = ritz.values[::-1][:count], ritz.residuals[::-1][:count]
        steps = len(ritz.values)
        # What is below rounding is not positive, whatever its sign.
        if steps < count or values[-1] <= 1e-6 * values[0]:
            continue
        found = [
            Eigenvector(
                value=float(value),
                error=float(error),
                direction=from_flat(
                    ritz.vector(steps - 1 - k) * math.sqrt(2 / value), operator.blocks, shapes
                ),
            )
            for k, (value, error) in enumerate(zip(values, errors, strict=True))
        ]
        yield found, steps
        if (errors <= _TOLERANCE * values).all():
            return
    if not found:
        raise ValueError(
            f"The loss curves upward in fewer than {count} directions here, so there are no "
            f"{count} eigenvectors to walk along. Choose more layers, or random directions."
        )


def gradient(model: nn.Module, images: Tensor, labels: Tensor, names: Sequence[str]) -> Direction:
    """Of the mean loss, for a frozen model in eval mode."""
    start = {
        name: p.detach().clone().requires_grad_()
        for name, p in model.named_parameters()
        if name in set(names)
    }
    total = {name: torch.zeros_like(p) for name, p in start.items()}
    for x, y in zip(images.split(64), labels.split(64), strict=True):
        loss = nn.functional.cross_entropy(
            torch.func.functional_call(model, start, (x,)), y, reduction="sum"
        )
        parts = torch.autograd.grad(
            loss, list(start.values()), allow_unused=True, materialize_grads=True
        )
        for name, part in zip(start, parts, strict=True):
            total[name] += part / len(images)
    return total
