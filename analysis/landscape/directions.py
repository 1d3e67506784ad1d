"""Directions in weight space: random ones as long as the filters, steps along them, and projection
on a plane.

A state is a dictionary from names to tensors, of parameters and sometimes buffers; a direction is a
difference of states. What it does not name stays.

Filter normalization: Li et al. 2018 (arXiv 1712.09913). Changed against their code and its
descendants: Gaussian, not uniform; a second direction is made orthogonal to the first after both
are normalized, because high-dimensional directions are only almost orthogonal and those of a single
layer often are not.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

State = Mapping[str, Tensor]
Direction = dict[str, Tensor]
# What is left of the second of two directions beside the first, in roundings of its length: below,
# the two are parallel.
_PARALLEL = 100


def filter_normalized(
    model: nn.Module, generator: torch.Generator, names: Collection[str] | None = None
) -> Direction:
    """A random direction: Gaussian, each filter as long as the model's, zero for biases and
    BatchNorm.

    A filter is what makes one output: a row of a Linear weight, weight[i] of a convolution.

    names: parameters that may move; None for all. The others are zero, and the numbers of those
        that move depend on which they are.

    Raises ValueError if there is no weight with two dimensions or more to move.
    """
    direction, moved = {}, False
    for name, weight in model.named_parameters():
        # Biases, and the scales and shifts of BatchNorm, have one dimension.
        if weight.ndim < 2 or (names is not None and name not in names):
            direction[name] = torch.zeros_like(weight)
            continue
        d = torch.randn(weight.shape, generator=generator, dtype=torch.float64).to(weight.dtype)
        d = d.to(weight.device)
        direction[name] = d * (_filter_lengths(weight.detach()) / _filter_lengths(d))
        moved = moved or bool(direction[name].any())
    if not moved:
        raise ValueError(
            "The model has no linear or convolution weights to move."
            if names is None
            else "The chosen layers have no linear or convolution weights to move. Choose other "
            "layers."
        )
    return direction


def _filter_lengths(weight: Tensor) -> Tensor:
    return torch.linalg.vector_norm(weight, dim=tuple(range(1, weight.ndim)), keepdim=True)


def moving(*directions: Direction) -> list[str]:
    """Names of the parameters that at least one of the directions moves, in their order."""
    return [name for name in directions[0] if any(bool(d[name].any()) for d in directions)]


def combine(states: Sequence[State], place: Sequence[float], names: Collection[str]) -> Direction:
    """sum_k place[k] states[k] for `names`, from the first state to the last, one rounding each."""
    total = torch._foreach_mul([states[0][name] for name in names], place[0])
    for state, c in zip(states[1:], place[1:], strict=True):
        torch._foreach_add_(total, [state[name] for name in names], alpha=c)
    return dict(zip(names, total, strict=True))


def put(own: State, values: State) -> None:
    """Copy `values` into the tensors of a network."""
    for name, value in values.items():
        own[name].copy_(value)


def move(model: nn.Module, start: State, direction: State, distance: float = 1.0) -> None:
    """Set the weights to start + distance * direction, computed afresh so that rounding never adds
    up.
    """
    put(model.state_dict(), combine((start, direction), (1.0, distance), list(direction)))


def dot(a: State, b: State) -> float:
    """Inner product over the names of `a`, in float64."""
    return sum(float((a[name].cpu().double() * b[name].cpu().double()).sum()) for name in a)


def cosine(a: State, b: State) -> float:
    """Of the angle between two directions, over the names of `a`."""
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def orthogonal_to(first: Direction, second: Direction) -> Direction:
    """`second` without its part along `first`, at its old length.

    Raises ValueError if the two are parallel up to rounding: then they span no plane.
    """
    square, length = dot(first, first), math.sqrt(dot(second, second))
    out = second
    for _ in range(2):  # once leaves a rounding error that counts when the two are almost parallel
        share = dot(first, out) / square
        out = {name: out[name] - share * first[name] for name in out}
    left = math.sqrt(dot(out, out))
    rounding = max(torch.finfo(part.dtype).eps for part in out.values())
    if left <= _PARALLEL * rounding * length:
        raise ValueError(
            "The two directions are parallel, so they span no plane. Choose more layers, or other "
            "models."
        )
    return {name: part * (length / left) for name, part in out.items()}


def from_flat(vector: Tensor, parameters: State) -> Direction:
    """A vector (P,) over `parameters`, one after the other, as a direction."""
    pieces = vector.split([p.numel() for p in parameters.values()])
    return {
        name: piece.view_as(p) for (name, p), piece in zip(parameters.items(), pieces, strict=True)
    }


def project(
    path: Iterable[State], origin: State, directions: Sequence[Direction]
) -> tuple[np.ndarray, float]:
    """Where the points of an optimizer's path lie in a plane through `origin`, by least squares.

    path: T states that have at least the parameters in `directions`.
    origin: the point of the plane with coordinates 0.
    directions: K, linearly independent.

    Returns coordinates (T, K), and the share of the path's length that the projected path has, in
    [0, 1]: how much of it the picture shows (1 for a path of no length). Parameters outside the
    directions count as outside the plane where `origin` has them.
    """
    gram = np.array([[dot(a, b) for b in directions] for a in directions])
    coordinates, length = [], 0.0
    before: Direction | None = None
    for state in path:
        offset = {
            name: state[name].detach() - origin[name].detach()
            for name in origin
            if origin[name].is_floating_point() and name in state
        }
        right = np.array([dot(d, offset) for d in directions])
        coordinates.append(np.linalg.solve(gram, right))
        if before is not None:
            step = {name: offset[name] - before[name] for name in offset}
            length += math.sqrt(dot(step, step))
        before = offset
    found = np.array(coordinates).reshape(-1, len(directions))
    steps = np.diff(found, axis=0)
    seen = float(np.sqrt(np.einsum("tk,kl,tl->t", steps, gram, steps).clip(0)).sum())
    return found, min(1.0, seen / length) if length else 1.0
