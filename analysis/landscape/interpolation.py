"""Places between models: what their weights and BatchNorm's running statistics are there.

Statistics of one model do not fit the weights of another (ignoring that is the known error of Li et
al.'s code). Two ways out are offered: interpolate them with the weights, or estimate them anew at
each place from the images, as Garipov et al. 2018 (arXiv 1802.10026) do. The first costs one
forward pass and is smooth; the second is what a model trained to be there would have.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from analysis.landscape.directions import Direction, State
from analysis.model_under_test import frozen_copy
from ngf.batch_norm import reestimate_batch_norm
from ngf.models.bounds import bounds_of

BETWEEN = ("interpolated", "reestimated")
BETWEEN_HELP = (
    "Running statistics of BatchNorm between the models: interpolated with the weights, or "
    "estimated anew at each place from the measured images."
)
_CHUNK = 128  # images in one estimate, at most: as many as in a batch of training


def states_of(models: Sequence[nn.Module], images: Tensor, labels: Tensor) -> list[Direction]:
    """Parameters and floating-point buffers of each model.

    images, labels: what the models are measured on. Raises ValueError for the reasons of
        `frozen_copy`, and when the models differ in their layers.
    """
    states = [
        {name: value.clone() for name, value in frozen_copy(m, images, labels).state_dict().items()}
        for m in models
    ]
    shapes = [[(name, value.shape) for name, value in state.items()] for state in states]
    if len({frozenset(bounds_of(state)) for state in states}) > 1:
        raise ValueError(
            "One of these models clips its activations (UNIT made it), and another does not, so no "
            "line joins them. Choose models of which all or none do."
        )
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError(
            f"The {'two' if len(models) == 2 else 'three'} models differ in their layers, so no "
            "line joins them. Choose models of the same architecture."
        )
    return [
        {name: value for name, value in state.items() if value.is_floating_point()}
        for state in states
    ]


def differing(states: Sequence[State]) -> list[str]:
    """Names of what is not the same in all states; all names if the states are equal."""
    names = [
        name
        for name in states[0]
        if any(not torch.equal(states[0][name], s[name]) for s in states[1:])
    ]
    return names or list(states[0])


def length(start: State, end: State, names: Sequence[str]) -> float:
    """Euclidean distance over the parameters `names`."""
    return math.sqrt(sum(float((end[k] - start[k]).double().square().sum().cpu()) for k in names))


def batch_norms(network: nn.Module) -> list[_BatchNorm]:
    """The layers that keep running statistics."""
    return [m for m in network.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]


def pieces(images: Tensor) -> Iterator[Tensor]:
    """Parts of at most 128 images, equal in size up to one image, so that all estimates weigh the
    same.
    """
    yield from images.tensor_split(-(-len(images) // _CHUNK))


def reestimate(network: nn.Module, images: Tensor) -> None:
    """Set the running statistics of BatchNorm to the mean over `pieces` of those of each piece.

    network: changed in place, and left in eval mode.
    images: float (N, C, H, W) in [0, 1]. Raises ValueError for a single one.
    """
    if len(images) < 2:
        raise ValueError(
            "Statistics of BatchNorm cannot be estimated from one image. Measure on two or more."
        )
    reestimate_batch_norm(network, pieces(images))
