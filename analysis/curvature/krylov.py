"""Eigenvalues, trace and spectral density from products with a symmetric operator.

Each function is a generator that yields a frozen result after every product, and draws its random
numbers from an explicit `torch.Generator` on the CPU, so that a seed means the same on every
device. Where `blocks` are given, slices of the vectors, the trace is also known for each diagonal
block, from the same products: tr H_bb = E[z_b . (H z)_b] for E[z z^T] = 1.

As many steps as there are rows give every eigenvalue, here of the second difference of 6 points:

    >>> class SecondDifference:
    ...     size, dtype, device = 6, torch.float64, torch.device("cpu")
    ...
    ...     def __matmul__(self, v):
    ...         padded = torch.cat([v.new_zeros(1), v, v.new_zeros(1)])
    ...         return 2 * v - padded[:-2] - padded[2:]
    >>> *_, ritz = lanczos(SecondDifference(), 6, torch.Generator().manual_seed(0))
    >>> np.allclose(ritz.values, 2 - 2 * np.cos(np.pi * np.arange(1, 7) / 7))
    True
    >>> (trace,) = deflated_trace(SecondDifference(), ritz, 10, torch.Generator())
    >>> math.isclose(trace.value, 2 * 6), trace.stderr
    (True, 0.0)

Sources: Lanczos with full reorthogonalization (Parlett, The Symmetric Eigenvalue Problem, 1998);
residual bound (Saad, Numerical Methods for Large Eigenvalue Problems, 2011); stochastic Lanczos
quadrature (Ubaru, Chen, Saad 2017); deflated Hutchinson after Hutch++ (Meyer et al. 2021), with the
Lanczos basis in place of a sketch, because it is already there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from scipy.special import stdtrit  # scipy.stats takes half a second more to import
from torch import Generator, Tensor

from analysis.model_under_test import exact_float32
from ngf.environment import wide

# A Ritz value counts as one eigenvalue of the density when its error is below this share of the
# distance to the next one, and its random weight is not that of several equal ones (a chi-square of
# one degree stays below).
_CONVERGED, _SEVERAL = 1e-3, 10.0
_ZERO = 10  # what is left of a vector in the span of the basis: a few roundings, with room to spare


class Operator(Protocol):
    """A symmetric matrix (size, size), known by its products with vectors (size,)."""

    size: int
    dtype: torch.dtype
    device: torch.device

    def __matmul__(self, vector: Tensor) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class Ritz:
    """What m products tell about the spectrum. Eigenvalues ascend; k runs over m Ritz pairs.

    values: (m,), eigenvalues of T = Q H Q^T.
    residuals: (m,), an eigenvalue of the operator lies within this distance of the Ritz value.
    weights: (m,), first components of T's eigenvectors squared, sum 1: with `values` a Gauss
        quadrature of the spectral density seen from the start vector.
    basis: Q (m, N), orthonormal rows.
    diagonal: (m,), q_j . H q_j for each row of the basis.
    blocks: (m, B), the parts of `diagonal` by block.
    coordinates: (m, m), eigenvectors of T, one per column.
    """

    values: np.ndarray
    residuals: np.ndarray
    weights: np.ndarray
    basis: Tensor
    diagonal: np.ndarray
    blocks: np.ndarray
    coordinates: np.ndarray

    def vector(self, k: int) -> Tensor:
        """The k-th Ritz vector (N,), of length 1."""
        y = torch.as_tensor(self.coordinates[:, k]).to(self.basis)
        return self.basis.T @ y

    def without_basis(self) -> Ritz:
        """The same numbers without the basis, which is large: m times the size of the model."""
        return replace(self, basis=torch.empty(0, self.basis.shape[1]))


@dataclass(frozen=True, kw_only=True)
class Trace:
    """An estimate of the trace.

    value: of all probes so far.
    stderr: its standard error; infinite for a single probe.
    probes: how many there are.
    low, high: the 95 % interval by Student's t, because probes are few.
    blocks: (B,), the trace of each diagonal block; they sum to the whole.
    blocks_stderr: (B,), their standard errors.
    """

    value: float
    stderr: float
    probes: int
    low: float
    high: float
    blocks: np.ndarray
    blocks_stderr: np.ndarray


def lanczos(
    operator: Operator,
    steps: int,
    generator: Generator,
    *,
    start: Tensor | None = None,
    blocks: Sequence[slice] = (),
) -> Iterator[Ritz]:
    """Yield the Ritz pairs after each of at most `steps` products (never more than
    `operator.size`).

    start: (N,), where to start instead of at random, such as the top Ritz vector of slightly other
        weights. lambda_max then takes a few products, but `weights` are no longer those of the
        spectral density.
    blocks: slices of the vectors, whose shares of the trace are wanted, too.

    When an invariant subspace is exhausted, it goes on with a fresh direction orthogonal to it, so
    that `size` steps give every eigenvalue with its multiplicity. Raises ValueError for fewer than
    one step, a start vector of another shape, and a product that is not finite.
    """
    steps = min(steps, operator.size)
    if steps < 1:
        raise ValueError("Lanczos needs at least one step.")
    basis = torch.empty(steps, operator.size, dtype=operator.dtype, device=operator.device)
    diagonal, beside, parts = np.zeros(steps), np.zeros(steps), np.zeros((steps, len(blocks)))
    rounding = torch.finfo(operator.dtype).eps
    scale = 0.0
    q = _random_direction(operator, generator) if start is None else _unit(operator, start)
    for j in range(steps):
        basis[j] = q
        w = operator @ q
        if not bool(torch.isfinite(w).all()):
            raise ValueError(
                "A product with the curvature is not finite: the loss overflows. "
                "Measure a model whose loss on these images is finite."
            )
        diagonal[j] = _dot(q, w)
        parts[j] = _dots(q, w, blocks)
        w = _remove(basis[: j + 1], w)
        beside[j] = math.sqrt(_dot(w, w))  # after reorthogonalizing, so that T matches the basis
        scale = max(scale, abs(diagonal[j]), beside[j])
        exhausted = beside[j] <= _ZERO * rounding * scale
        if exhausted:
            beside[j] = 0.0
        yield _ritz(basis[: j + 1], diagonal[: j + 1], beside[: j + 1], parts[: j + 1], rounding)
        if j + 1 < steps:
            if exhausted:
                w = _remove(basis[: j + 1], _random_direction(operator, generator))
            q = w / math.sqrt(_dot(w, w))


def deflated_trace(
    operator: Operator,
    known: Ritz,
    probes: int,
    generator: Generator,
    *,
    blocks: Sequence[slice] = (),
) -> Iterator[Trace]:
    """Trace on the Lanczos basis exactly, on its complement by random signs (Hutchinson).

        tr H = sum_j q_j . H q_j  +  E[z' . H z'],    z' = z - Q^T Q z,  z_i = +-1

    The same holds block by block, because E[z' z'^T] = 1 - Q^T Q. The error bar is the standard
    error of the second term. Yields after each of `probes` products, or one exact result if Q spans
    everything.

    known: of the same operator, with its basis.
    blocks: those that `known` was made with.
    """
    head, parts = float(known.diagonal.sum()), known.blocks.sum(0)
    if len(known.basis) == operator.size:
        yield Trace(
            value=head,
            stderr=0.0,
            probes=0,
            low=head,
            high=head,
            blocks=parts,
            blocks_stderr=np.zeros(len(blocks)),
        )
        return
    samples, part_samples = [], []
    for _ in range(probes):
        signs = torch.randint(0, 2, (operator.size,), generator=generator) * 2 - 1
        z = _remove(known.basis, signs.to(operator.device, operator.dtype))
        product = operator @ z
        samples.append(_dot(z, product))
        part_samples.append(_dots(z, product, blocks))
        yield _mean(samples, np.array(part_samples), head, parts)


def density(runs: Sequence[Ritz]) -> tuple[np.ndarray, np.ndarray]:
    """The spectral density as the mean over start vectors, one run each: nodes (M,), ascending, and
    weights (M,), whose sum is 1.

    A Ritz value that has converged to an eigenvalue of its own has weight 1/N instead of a random
    one.
    """
    nodes = np.concatenate([run.values for run in runs])
    weights = np.concatenate([_weights(run) for run in runs]) / len(runs)
    order = np.argsort(nodes, kind="stable")
    return nodes[order], weights[order]


def _weights(run: Ritz) -> np.ndarray:
    share, steps = 1 / run.basis.shape[1], len(run.values)
    if steps * share >= 1:  # every eigenvalue is there
        return np.full(steps, share)
    gaps = np.pad(np.diff(run.values), 1, constant_values=np.inf)
    certain = run.residuals <= _CONVERGED * np.minimum(gaps[:-1], gaps[1:])
    certain &= run.weights <= _SEVERAL * share
    rest = run.weights[~certain].sum()
    if not certain.any() or rest <= 0:
        return run.weights
    return np.where(certain, share, run.weights * (1 - certain.sum() * share) / rest)


def _ritz(
    basis: Tensor, diagonal: np.ndarray, beside: np.ndarray, blocks: np.ndarray, rounding: float
) -> Ritz:
    values, y = np.linalg.eigh(
        np.diag(diagonal) + np.diag(beside[:-1], 1) + np.diag(beside[:-1], -1)
    )
    # The products themselves are rounded; no certificate can be better than that. The factor 4
    # covers what was seen on trained networks in float32 (1.4 times the rest).
    floor = 4 * rounding * math.sqrt(len(values)) * np.abs(values).max()
    return Ritz(
        values=values,
        residuals=beside[-1] * np.abs(y[-1]) + floor,
        weights=y[0] ** 2,
        basis=basis,
        diagonal=diagonal.copy(),
        blocks=blocks.copy(),
        coordinates=y,
    )


def _mean(samples: list[float], part_samples: np.ndarray, head: float, parts: np.ndarray) -> Trace:
    count, value = len(samples), head + float(np.mean(samples))
    if count > 1:
        root = math.sqrt(count)
        stderr, part_stderr = (
            float(np.std(samples, ddof=1)) / root,
            part_samples.std(0, ddof=1) / root,
        )
        half = float(stdtrit(count - 1, 0.975)) * stderr  # 2.5 % are left out at either end
    else:
        stderr, part_stderr, half = math.inf, np.full(len(parts), np.inf), math.inf
    return Trace(
        value=value,
        stderr=stderr,
        probes=count,
        low=value - half,
        high=value + half,
        blocks=parts + part_samples.mean(0),
        blocks_stderr=part_stderr,
    )


def _unit(operator: Operator, start: Tensor) -> Tensor:
    start = start.to(operator.device, operator.dtype)
    length = math.sqrt(_dot(start, start)) if start.shape == (operator.size,) else 0.0
    if not 0 < length < math.inf:
        raise ValueError(
            f"The start vector must be finite, not zero, and of shape ({operator.size},), not "
            f"{tuple(start.shape)}."
        )
    return start / length


def _random_direction(operator: Operator, generator: Generator) -> Tensor:
    z = torch.randn(operator.size, generator=generator, dtype=torch.float64).to(operator.dtype)
    z = z.to(operator.device)
    return z / math.sqrt(_dot(z, z))


def _remove(basis: Tensor, w: Tensor) -> Tensor:
    """w without its part in the span of the rows of `basis`; twice, because once leaves rounding
    errors.
    """
    with exact_float32():
        for _ in range(2):
            w = w - basis.T @ (basis @ w)
    return w


def _dot(a: Tensor, b: Tensor) -> float:
    """Dot product, summed in float64 where the device has it."""
    return float(a.to(wide(a)) @ b.to(wide(b)))


def _dots(a: Tensor, b: Tensor, blocks: Sequence[slice]) -> np.ndarray:
    """Dot products of the parts of two vectors: (B,)."""
    return np.array([_dot(a[where], b[where]) for where in blocks])
