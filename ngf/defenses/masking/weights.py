"""Weights of the layers that make features: convolutions and linear layers before the classifier.

A neuron is an output channel of one of them, and its weights are those that come in: a row of
`weight` flattened.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from ngf.models import Flow
from ngf.options import SpecError


def before_classifier(found: Flow, method: str) -> list[str]:
    """Names of the convolutions and linear layers before the classifier. Raises SpecError, which
    names the method, where there is none.
    """
    names = [
        name
        for name, layer in found.usable.items()
        if isinstance(layer, nn.Conv2d | nn.Linear) and name != found.last
    ]
    if names:
        return names
    raise SpecError(
        f"{method} works on weights of convolutions or linear layers before the classifier; this "
        "model has none that can be tuned. Choose another defense."
    )


def weight_of(model: nn.Module, name: str) -> Tensor:
    """The weight of a layer, detached: what is written into it is written into the model."""
    return cast(nn.Conv2d, model.get_submodule(name)).weight.detach()
