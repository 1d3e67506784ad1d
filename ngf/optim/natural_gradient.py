"""The exact natural gradient of a last linear softmax layer.

With features h~_n = (h_n, 1) in R^(D+1), logits z_n = W h~_n and p_n = softmax(z_n), the Fisher information of
W (C x (D+1)) is, in closed form and for any labels,

    F = (1/N) sum_n (diag(p_n) - p_n p_n^T) (x) h~_n h~_n^T,

which is also the Gauss-Newton matrix and the Hessian of the cross-entropy: the problem is convex. F is never
formed. One product F V costs four small matrix products, and conjugate gradients, preconditioned by the
Kronecker product of the two mean factors, solve (F + diag + lambda I) X = G in a few tens of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def with_ones(features: Tensor) -> Tensor:
    """Append the constant 1 that multiplies the bias: (N, D) -> (N, D + 1)."""
    return torch.cat([features, features.new_ones(len(features), 1)], 1)


class SoftmaxFisher:
    """The Fisher of a softmax layer at given features and probabilities, as an operator on (C, D+1).

    features: (N, D+1), the ones included; probabilities: (N, C).
    """

    def __init__(self, features: Tensor, probabilities: Tensor) -> None:
        self.features, self.p = features, probabilities

    def __matmul__(self, direction: Tensor) -> Tensor:
        """F V for V (C, D+1)."""
        logits = self.features @ direction.T
        weighted = self.p * logits
        return (weighted - self.p * weighted.sum(1, keepdim=True)).T @ self.features / len(self.p)

    def trace(self) -> Tensor:
        """Tr F = mean of (1 - |p|^2) |h~|^2."""
        return ((1 - self.p.square().sum(1)) * self.features.square().sum(1)).mean()

    def diagonal(self) -> Tensor:
        """diag F as a (C, D+1) matrix."""
        return (self.p * (1 - self.p)).T @ self.features.square() / len(self.p)

    def kronecker(self) -> tuple[Tensor, Tensor]:
        """Mean factors: E[diag p - p p^T] (C, C) and E[h~ h~^T] (D+1, D+1)."""
        count = len(self.p)
        output = torch.diag(self.p.mean(0)) - self.p.T @ self.p / count
        return output, self.features.T @ self.features / count


class KroneckerInverse:
    """(G (x) A + lambda I)^-1 on matrices (C, D+1), exact for the Kronecker product, by two eigenbases.

    Leading dimensions, the same in all three, are products apart from each other.
    """

    def __init__(self, output: Tensor, inputs: Tensor, damping: float) -> None:
        output_values, self.output_basis = torch.linalg.eigh(output)
        input_values, self.input_basis = torch.linalg.eigh(inputs)
        self.values = output_values.clamp_min(0)[..., :, None] * input_values.clamp_min(0)[..., None, :]
        self.damping = damping

    def __matmul__(self, matrix: Tensor) -> Tensor:
        inner = self.output_basis.mT @ matrix @ self.input_basis
        return self.output_basis @ (inner / (self.values + self.damping)) @ self.input_basis.mT


@dataclass(frozen=True)
class Solution:
    """X of (F + diag + lambda I) X = G, the iterations it took, and |residual| / |G|."""

    value: Tensor
    iterations: int
    residual: float


def solve(fisher: SoftmaxFisher, gradient: Tensor, *, damping: float, extra_diagonal: Tensor | None = None,
          preconditioner: KroneckerInverse | None = None, tolerance: float = 1e-4,
          max_iterations: int = 200) -> Solution:
    """Preconditioned conjugate gradients (Hestenes & Stiefel 1952) for the damped natural gradient.

    gradient: (C, D+1). extra_diagonal: (C, D+1), the curvature of a quadratic regularizer, or None.
    Stops when |residual| <= tolerance |gradient|.
    """
    if damping <= 0:
        raise ValueError(f"damping = {damping} must be above zero: F itself is singular.")
    if preconditioner is None:
        preconditioner = KroneckerInverse(*fisher.kronecker(), damping)
    extra = torch.zeros_like(gradient) if extra_diagonal is None else extra_diagonal
    x, residual = torch.zeros_like(gradient), gradient.clone()
    size = gradient.norm()
    if size == 0:
        return Solution(x, 0, 0.0)
    z = preconditioner @ residual
    direction, rz = z, (residual * z).sum()
    iterations = 0
    while iterations < max_iterations and residual.norm() > tolerance * size:
        product = fisher @ direction + (damping + extra) * direction
        alpha = rz / (direction * product).sum()
        x = x + alpha * direction
        residual = residual - alpha * product
        z = preconditioner @ residual
        rz, previous = (residual * z).sum(), rz
        direction = z + rz / previous * direction
        iterations += 1
    return Solution(x, iterations, (residual.norm() / size).item())
