"""Second derivatives of each image's loss for its own pixels.

For cross-entropy, logits f(x), p = softmax(f) and J = d f / d x (C, D):

    H_i = d^2 L_i / d x_i^2 = J_i^T (diag p_i - p_i p_i^T) J_i + sum_c (p_i - e_y)_c d^2 f_c / d x^2

In eval mode the images do not act on each other, so the Hessian of the summed loss is block
diagonal, and one product with a vector for each image, (n, D), is n products at once. A network
that is piecewise linear in its input, such as one of convolutions, BatchNorm in eval mode, ReLU
and max pooling, has no second part: H_i is then the Fisher information of the image's pixels, of
rank C - 1 at most, and does not depend on the label.

Eigenvalues by Lanczos and traces by Hutchinson's random signs on the complement of its basis, as in
`analysis.curvature.krylov` for one matrix; there are the sources.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(6, 3, dtype=torch.float64))
    >>> x, y = torch.rand(2, 1, 2, 3, dtype=torch.float64), torch.tensor([0, 2])
    >>> hessian, (w, p) = InputHessian(model, x, y), (model[1].weight, model(x).softmax(1))
    >>> closed_form = [w.T @ (torch.diag(q) - torch.outer(q, q)) @ w for q in p]
    >>> v = torch.rand(2, 6, dtype=torch.float64)
    >>> torch.allclose(hessian @ v, torch.stack([h @ u for h, u in zip(closed_form, v)]))
    True
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.model_under_test import exact_float32
from ngf.environment import wide

_ZERO = 10  # what is left of a vector in the span of the basis: a few roundings, with room to spare


class InputHessian:
    """n symmetric matrices (D, D), one per image, known by their products.

    Arguments:
        model: in eval mode; it is left as it was.
        images: float (n, C, H, W) in [0, 1], all in one graph, which is kept.
        labels: int64 (n,).

    Attributes:
        shape: (n, D), of the vectors.
        losses: (n,), the cross-entropy of each image in nats.
    """

    def __init__(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        self.shape = (len(images), images[0].numel())
        self._x = images.detach().clone().requires_grad_()
        with exact_float32():
            losses = _cross_entropy(model(self._x), labels)
            self.losses = losses.detach()
            (self._gradient,) = torch.autograd.grad(
                losses.sum(), self._x, create_graph=True, materialize_grads=True
            )

    def __matmul__(self, vectors: Tensor) -> Tensor:
        """The product of each image's matrix with its row of `vectors` (n, D): (n, D)."""
        if not self._gradient.requires_grad:  # the logits do not depend on the pixels
            return torch.zeros_like(vectors)
        with exact_float32():
            (product,) = torch.autograd.grad(
                self._gradient,
                self._x,
                vectors.view_as(self._x),
                retain_graph=True,
                materialize_grads=True,
            )
        return product.reshape(self.shape)


@dataclass(frozen=True, kw_only=True)
class TopEach:
    """What m products tell about each of n matrices.

    value: (n,), the largest Ritz value.
    residual: (n,), an eigenvalue lies within this distance of it.
    basis: (n, m, D), orthonormal rows; zero from where an invariant subspace was exhausted.
    head: (n,), the trace on the span of the basis.
    """

    value: np.ndarray
    residual: np.ndarray
    basis: Tensor
    head: np.ndarray


def top_each(hessian: InputHessian, start: Tensor, steps: int) -> TopEach:
    """The largest eigenvalue of each image's matrix by `steps` Lanczos products, with full
    reorthogonalization.

    start: (n, D), random, one vector per image.

    Where the products of an image have exhausted an invariant subspace, as they do after C - 1
    steps in a piecewise linear network, its largest eigenvalue is exact, and it is left alone.
    Raises ValueError for a product that is not finite.
    """
    n, size = hessian.shape
    steps = min(steps, size)
    rounding = torch.finfo(start.dtype).eps
    basis = start.new_zeros(n, steps, size)
    diagonal, beside = np.zeros((n, steps)), np.zeros((n, steps))
    scale = np.zeros(n)
    q = start / _dots(start, start).sqrt().to(start)[:, None]
    for j in range(steps):
        basis[:, j] = q
        w = hessian @ q
        if not bool(torch.isfinite(w).all()):
            raise ValueError(
                "A product with the curvature is not finite: the loss overflows. "
                "Measure a model whose loss on these images is finite."
            )
        diagonal[:, j] = _dots(q, w).cpu().numpy()
        w = _remove(basis[:, : j + 1], w)
        length = _dots(w, w).sqrt().cpu().numpy()
        scale = np.maximum(scale, np.maximum(np.abs(diagonal[:, j]), length))
        beside[:, j] = np.where(length > _ZERO * rounding * scale, length, 0.0)
        inverse = np.divide(1.0, beside[:, j], out=np.zeros(n), where=beside[:, j] > 0)
        q = w * torch.as_tensor(inverse).to(w)[:, None]
    value, residual = _largest(diagonal, beside, rounding)
    return TopEach(value=value, residual=residual, basis=basis, head=diagonal.sum(1))


def trace_each(hessian: InputHessian, known: TopEach, signs: Tensor) -> Iterator[np.ndarray]:
    """One unbiased sample (n,) of each image's trace for each of the vectors in `signs`
    (n, probes, D), whose entries are +-1: exact on the basis, random on its complement.

    known: of the same matrices.
    """
    for probe in signs.unbind(1):
        z = _remove(known.basis, probe)
        yield known.head + _dots(z, hessian @ z).cpu().numpy()


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log p(y) of each image as log(1 + sum over c != y of exp(f_c - f_y)): (n,).

    The second derivatives of the usual form are differences of probabilities, which vanish in
    rounding where the model is sure; those of this one are products.
    """
    own = F.one_hot(labels, logits.shape[1]).bool()
    others = (logits - logits.gather(1, labels[:, None])).masked_fill(own, -torch.inf)
    return F.softplus(others.logsumexp(1))


def _largest(
    diagonal: np.ndarray, beside: np.ndarray, rounding: float
) -> tuple[np.ndarray, np.ndarray]:
    """Largest eigenvalue (n,) of each tridiagonal matrix and the bound of its error."""
    n, steps = diagonal.shape
    alive = np.cumprod(np.pad(beside[:, :-1] > 0, ((0, 0), (1, 0)), constant_values=True), 1)
    # Rows behind an exhausted subspace stand apart; with the first Rayleigh quotient, which no
    # eigenvalue of the rest lies wholly below, they leave the largest as it is.
    filled = np.where(alive, diagonal, diagonal[:, :1])
    matrix = np.zeros((n, steps, steps))
    at = np.arange(steps)
    matrix[:, at, at] = filled
    matrix[:, at[1:], at[:-1]] = matrix[:, at[:-1], at[1:]] = beside[:, :-1]
    values, vectors = np.linalg.eigh(matrix)
    floor = 4 * rounding * np.sqrt(steps) * np.abs(values).max(1)  # as in `krylov`
    return values[:, -1], beside[:, -1] * np.abs(vectors[:, -1, -1]) + floor


def _remove(basis: Tensor, w: Tensor) -> Tensor:
    """w (n, D) without its part in the span of each basis (n, m, D); twice, because once leaves
    rounding errors.
    """
    with exact_float32():
        for _ in range(2):
            w = w - torch.einsum("nmd,nm->nd", basis, torch.einsum("nmd,nd->nm", basis, w))
    return w


def _dots(a: Tensor, b: Tensor) -> Tensor:
    """Dot product of each pair of rows: (n,), summed in float64 where the device has it."""
    return (a.to(wide(a)) * b.to(wide(b))).sum(1)
