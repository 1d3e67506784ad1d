"""Layers whose scale BatchNorm takes out: found, and rescaled so that every prediction stays.

If a layer's output goes into a BatchNorm in eval mode and nowhere else, multiplying its weights and
bias by a > 0 changes nothing as long as the BatchNorm divides by a times as much:

    (a z - a mean) / sqrt(a^2 var + a^2 eps) = (z - mean) / sqrt(var + eps)

Because of eps, scaling the running statistics alone is not exact. eps is a number of the module
like any other, so it is scaled along; moving it into the variance, as a^2 (var + eps) - eps, would
be negative for small a.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from analysis.curvature.gradients import predictions

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_IMAGES = 8  # enough to see whether a prediction changes
_TOLERANCE = 1e-4  # doubling is exact in binary, so only the order of sums can differ


def rescaled(model: nn.Module, layer: str, norm: str, factor: float) -> nn.Module:
    """A copy of `model` with `layer` multiplied by `factor`, and BatchNorm `norm` adapted."""
    if factor <= 0:
        raise ValueError(f"factor = {factor} is out of range. Allowed: more than 0.")
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.get_submodule(layer).parameters(recurse=False):
            parameter.mul_(factor)
        batch_norm = other.get_submodule(norm)
        batch_norm.running_mean.mul_(factor)
        batch_norm.running_var.mul_(factor**2)
        batch_norm.eps *= factor**2
    return other


def scale_pairs(model: nn.Module, images: Tensor) -> dict[str, str]:
    """Layer -> the BatchNorm that takes out its scale, in the order of the forward pass.

    `model` is in eval mode. Candidates are layers whose output is the very tensor that a BatchNorm
    receives; those whose output is used elsewhere as well, such as by a skip connection, are
    dropped by trying it.
    """
    few = images[:_IMAGES]
    outputs: list[tuple[str, Tensor]] = []
    candidates: dict[str, str] = {}

    def remember(name: str):
        return lambda module, inputs, output: outputs.append((name, output))

    def recognize(norm: str):
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            candidates.update({name: norm for name, output in outputs if output is inputs[0]})

        return hook

    handles = []
    for name, module in model.named_modules():
        if isinstance(module, LAYERS):
            handles.append(module.register_forward_hook(remember(name)))
        elif isinstance(module, NORMS) and module.running_var is not None:
            handles.append(module.register_forward_pre_hook(recognize(name)))
    try:
        before = predictions(model, few)
    finally:
        for handle in handles:
            handle.remove()
    outputs.clear()
    scale = max(1.0, float(before.abs().max()))
    return {
        layer: norm
        for layer, norm in candidates.items()
        if float((predictions(rescaled(model, layer, norm, 2.0), few) - before).abs().max())
        < _TOLERANCE * scale
    }
