"""The scale of weights is arbitrary: layers that can be rescaled, and what does not see it.

If a layer's output goes into a BatchNorm in eval mode and nowhere else, multiplying its weights and
bias by a > 0 changes nothing as long as the BatchNorm divides by a times as much:

    (a z - a mean) / sqrt(a^2 var + a^2 eps) = (z - mean) / sqrt(var + eps)

Because of eps, scaling the running statistics alone is not exact. eps is a number of the module
like any other, so it is scaled along; moving it into the variance, as a^2 (var + eps) - eps, would
be negative for small a.

The Hessian H is then divided by a on either side, and a diagonal D that measures the weights takes
it back in D H D. Biases and the scales and shifts of BatchNorm are not scaled along with a filter,
and have D = 0 where D is the length of a filter or a layer, as in the slices of Li et al. 2018
(arXiv 1712.09913). Where D is the size of each weight (Kwon et al. 2021, ASAM, arXiv 2102.11600,
without its additive constant), they count like all others.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from analysis.curvature.gradients import predictions

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
_IMAGES = 8  # enough to see whether a prediction changes
_TOLERANCE = 1e-4  # doubling is exact in binary, so only the order of sums can differ


def rescaled(model: nn.Module, layer: str, norm: str, factor: float) -> nn.Module:
    """A copy of `model` with `layer` multiplied by `factor`, and BatchNorm `norm` adapted.

    Raises ValueError for a factor that is not positive, and where `norm` has no running statistics.
    """
    if factor <= 0:
        raise ValueError(f"factor = {factor} is out of range. Allowed: more than 0.")
    other = copy.deepcopy(model)
    batch_norm = other.get_submodule(norm)
    mean, variance = (getattr(batch_norm, name, None) for name in ("running_mean", "running_var"))
    if not isinstance(batch_norm, _BatchNorm) or mean is None or variance is None:
        raise ValueError(f"{norm} is no BatchNorm with running statistics.")
    with torch.no_grad():
        for parameter in other.get_submodule(layer).parameters(recurse=False):
            parameter.mul_(factor)
        mean.mul_(factor)
        variance.mul_(factor**2)
    batch_norm.eps *= factor**2
    return other


def scale_pairs(model: nn.Module, images: Tensor) -> dict[str, str]:
    """Layer -> the BatchNorm that takes out its scale, in the order of the forward pass.

    model: in eval mode.
    images: float (N, C, H, W) in [0, 1].

    Candidates are layers whose output is the very tensor that a BatchNorm receives; those whose
    output is used elsewhere as well, such as by a skip connection, are dropped by trying it.
    """
    few = images[:_IMAGES]
    outputs: list[tuple[str, Tensor]] = []
    candidates: dict[str, str] = {}

    def remember(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda module, inputs, output: outputs.append((name, output))

    def recognize(norm: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda module, inputs: candidates.update(
            {name: norm for name, output in outputs if output is inputs[0]}
        )

    handles = []
    for name, module in model.named_modules():
        if isinstance(module, _LAYERS):
            handles.append(module.register_forward_hook(remember(name)))
        elif isinstance(module, _BatchNorm) and module.running_var is not None:
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


def scaling(parameters: Mapping[str, Tensor], kind: str) -> Tensor:
    """The diagonal D of D H D for `parameters`, one after the other: (P,).

    kind: "filter" (length of the filter, weight[i], that a weight belongs to), "layer" (length of
        the whole weight), "adaptive" (absolute value of the weight itself).

    Raises ValueError for another kind.
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
