"""Places between models: what their weights and BatchNorm's running statistics are there.

Statistics of one model do not fit the weights of another (ignoring that is the known error of Li et
al.'s code). Two ways out are offered: interpolate them with the weights, or estimate them anew at
each place from the images, as Garipov et al. 2018 (arXiv 1802.10026) do. The first is one forward
pass and smooth; the second is what a model trained to be there would have.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from analysis.landscape.directions import Direction
from analysis.model_under_test import frozen_copy

BETWEEN = ("interpolated", "reestimated")
BETWEEN_HELP = (
    "Running statistics of BatchNorm between the models: interpolated with the weights, or "
    "estimated anew at each place from the measured images."
)
_CHUNK = 128  # images in one estimate, at most


def states_of(models: Sequence[nn.Module], images: Tensor, labels: Tensor) -> list[Direction]:
    """Parameters and floating-point buffers of each model. Raises ValueError when their
    layers differ.
    """
    states = [
        {name: value.clone() for name, value in frozen_copy(m, images, labels).state_dict().items()}
        for m in models
    ]
    shapes = [[(name, value.shape) for name, value in state.items()] for state in states]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError(
            f"The {'two' if len(models) == 2 else 'three'} models differ in their layers, so no "
            "line joins them. Choose models of the same architecture."
        )
    return [
        {name: value for name, value in state.items() if value.is_floating_point()}
        for state in states
    ]


def differing(states: Sequence[Direction]) -> list[str]:
    """Names of what is not the same in all states; everything if all are the same."""
    names = [
        name
        for name in states[0]
        if any(not torch.equal(states[0][name], s[name]) for s in states[1:])
    ]
    return names or list(states[0])


def length(start: Direction, end: Direction, names: Sequence[str]) -> float:
    """Euclidean distance over the parameters `names`."""
    return math.sqrt(sum(float((end[k] - start[k]).double().square().sum().cpu()) for k in names))


def batch_norms(network: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """The layers that keep running statistics."""
    return [
        m
        for m in network.modules()
        if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats
    ]


def pieces(images: Tensor) -> Iterator[Tensor]:
    """Parts of at most 128 images and of the same size up to one, so that each estimate
    weighs the same.
    """
    yield from images.tensor_split(-(-len(images) // _CHUNK))


@torch.no_grad()
def reestimate(network: nn.Module, images: Tensor) -> None:
    """Set the running statistics to the mean over `pieces` of those of each piece, in train mode.

    Raises ValueError for a single image.
    """
    if len(images) < 2:
        raise ValueError(
            "Statistics of BatchNorm cannot be estimated from one image. Measure on two or more."
        )
    layers = batch_norms(network)
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean over the pieces
        layer.train()
    try:
        for x in pieces(images):
            network(x)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
            layer.eval()
