"""Channels of normalization layers: what a mask on them computes, and how one is pruned.

A channel of BatchNorm or LayerNorm gives w_k x_k + b_k, with x_k normalized. Its mask m_k takes the
place of a factor 1 before w_k; a pruned channel has w_k = 0, and gives the constant b_k.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from ngf.models import Flow
from ngf.options import SpecError

Norm = _BatchNorm | nn.LayerNorm
Channels = Mapping[str, Tensor]  # name of a normalization layer -> a value for each channel (C,)


def norms(found: Flow, method: str) -> list[str]:
    """Names of the normalization layers whose channels can carry a mask. Raises SpecError, which
    names the method, where there is none.
    """
    names = [name for name, layer in found.usable.items() if isinstance(layer, Norm)]
    if names:
        return names
    raise SpecError(
        f"{method} masks the channels of BatchNorm or LayerNorm; this model has no such layer that "
        "can carry a mask. Choose another defense."
    )


def network(model: nn.Module, batch_norm: str) -> nn.Module:
    """A copy of a model to learn masks on, see `freeze`."""
    return freeze(copy.deepcopy(model), batch_norm)


def freeze(model: nn.Module, batch_norm: str) -> nn.Module:
    """Let nothing of a model change from now on, in place, while masks are learned; BatchNorm takes
    the statistics of the batch (`train`) or those of the model (`eval`).
    """
    model.eval().requires_grad_(False)
    for layer in model.modules():
        if isinstance(layer, _BatchNorm) and batch_norm == "train":
            layer.train()
            layer.track_running_stats = False
    return model


def ones(model: nn.Module, names: list[str]) -> dict[str, Tensor]:
    """A mask for each channel that leaves it as it is."""
    return {name: torch.ones_like(_weight(model, name)) for name in names}


def logits(
    model: nn.Module, images: Tensor, scales: Channels, shifts: Channels | None = None
) -> Tensor:
    """What a model gives with each weight w_k times its scale and each b_k times its shift."""
    changed = {f"{name}.weight": scale * _weight(model, name) for name, scale in scales.items()}
    for name, shift in (shifts or {}).items():
        bias = cast(Norm, model.get_submodule(name)).bias
        if bias is not None:
            changed[f"{name}.bias"] = shift * bias
    found: Tensor = functional_call(model, changed, (images,))
    return found


@torch.no_grad()
def prune(model: nn.Module, gone: Channels, *, shifts: bool = False) -> nn.Module:
    """Set the weights of channels to zero, in place.

    gone: bool (C,) of each layer.
    shifts: whether b_k becomes zero as well.
    """
    for name, channels in gone.items():
        layer = cast(Norm, model.get_submodule(name))
        layer.weight.masked_fill_(channels, 0)
        if shifts and layer.bias is not None:
            layer.bias.masked_fill_(channels, 0)
    return model


def count(values: Channels) -> int:
    """How many channels there are."""
    return sum(value.numel() for value in values.values())


def share(values: Channels) -> float:
    """Mean over all channels."""
    return sum(value.sum().item() for value in values.values()) / count(values)


def _weight(model: nn.Module, name: str) -> Tensor:
    return cast(Norm, model.get_submodule(name)).weight.detach()
