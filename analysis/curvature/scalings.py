"""Diagonals D that make curvature comparable between weights of different scale, as D H D.

When weights are multiplied by a and the function stays, H is divided by a on either side, and D,
which measures the weights, takes it back. Biases and the scales and shifts of BatchNorm are not
scaled along with a filter, and have D = 0 where D is the length of a filter or a layer, as in the
slices of Li et al. 2018 (arXiv 1712.09913). Where D is the size of each weight (Kwon et al. 2021,
ASAM, arXiv 2102.11600, without its additive constant), they count like all others.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def scaling(parameters: Mapping[str, Tensor], kind: str) -> Tensor:
    """The diagonal (P,) for `parameters`, one after the other.

    kind: "filter" (length of the filter, weight[i], that a weight belongs to), "layer" (length of
    the whole weight), "adaptive" (absolute value of the weight itself). Raises ValueError for
    another kind.
    """
    if kind not in ("filter", "layer", "adaptive"):
        raise ValueError(f"kind = {kind!r} is unknown. Allowed: filter, layer, adaptive.")
    return torch.cat([_of_one(weight.detach(), kind).reshape(-1) for weight in parameters.values()])


def _of_one(weight: Tensor, kind: str) -> Tensor:
    if kind == "adaptive":
        return weight.abs()
    if weight.ndim < 2:
        return torch.zeros_like(weight)
    axes = tuple(range(1 if kind == "filter" else 0, weight.ndim))
    return torch.linalg.vector_norm(weight, dim=axes, keepdim=True).expand_as(weight)
