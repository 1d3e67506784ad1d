"""The frozen copy of a model that every measurement works on, so that the caller's stays as it is.

BatchNorm runs in eval mode everywhere: running statistics make the images independent of each
other, so the loss is a mean over images and does not depend on how they are cut into chunks.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from ngf.checkpoints.weights import WeightsError
from ngf.finite import OUTPUTS, broken, not_finite

# Images in one forward pass without gradients; changes no number, only memory: 64 channels of 32x32
# pixels take 32 MiB.
FORWARD_CHUNK = 128
_DIVERGED = (
    "The run that made this model diverged: choose another model, or make it again with a smaller "
    "learning rate."
)


def frozen_copy(model: nn.Module, images: Tensor, labels: Tensor) -> nn.Module:
    """A deep copy of `model` in eval mode that asks for no gradient, after checking all three.

    images: float (N, C, H, W) in [0, 1] on the model's device.
    labels: int64 (N,).

    Raises ValueError if there are no images, if an image is not finite, if the labels
    do not fit the images or the classes, or if a BatchNorm keeps no running statistics;
    WeightsError, which is one, if a weight or what the model gives back is not finite.
    """
    if images.ndim < 2 or len(images) == 0:
        raise ValueError("There are no images to measure on. Ask for at least one image.")
    if labels.shape != (len(images),):
        raise ValueError(
            f"Each image needs one label: {len(images)} images, labels of shape "
            f"{tuple(labels.shape)}."
        )
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(
            f"Labels are whole numbers, not {labels.dtype}. Convert them with labels.long()."
        )
    if not bool(torch.isfinite(images).all()):
        raise ValueError("Some images are not finite. Scale them to [0, 1] before measuring.")
    if names := broken(model.state_dict()):
        raise WeightsError(f"{not_finite(names)}.", advice=_DIVERGED)
    if not any(True for _ in model.parameters()):
        raise ValueError("The model has no parameters, so there is nothing to measure.")
    without = [
        name
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is None
    ]
    if without:
        raise ValueError(
            f"BatchNorm {', '.join(without[:3])} keeps no running statistics, so the loss of an "
            "image depends on the others beside it. Train with track_running_stats=True."
        )
    frozen = copy.deepcopy(model).eval().requires_grad_(False)
    with torch.no_grad():
        logits = frozen(images[:1])
    if broken({"logits": logits}):
        raise WeightsError(f"{OUTPUTS}.", advice=_DIVERGED)
    num_classes = logits.shape[-1]
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise ValueError(
            f"Labels go from {low} to {high}, but the model has {num_classes} classes "
            f"(0 to {num_classes - 1}). Choose the data set it was trained on."
        )
    return frozen


def parameters_of(model: nn.Module, layers: str) -> list[str]:
    """Names of the parameters that belong to `layers`, in the model's order.

    layers: names separated by commas; empty for all. A layer is a module with parameters of its
        own, or one that holds such modules.

    Raises ValueError, with the layers that exist, for an unknown one.
    """
    names = [name for name, _ in model.named_parameters()]
    wanted = [layer.strip() for layer in layers.split(",") if layer.strip()]
    if not wanted:
        return names
    known = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    unknown = [layer for layer in wanted if not any(name.startswith(f"{layer}.") for name in names)]
    if unknown:
        raise ValueError(f"Unknown layer {', '.join(unknown)}. Allowed: {', '.join(known)}.")
    return [name for name in names if any(name.startswith(f"{layer}.") for layer in wanted)]


def layer_of(parameter: str) -> str:
    """The module that a parameter of this name belongs to; `model` for the model's own."""
    return parameter.rpartition(".")[0] or "model"


def parameters_by_layer(model: nn.Module, layers: str) -> dict[str, list[str]]:
    """Layer -> names of the parameters of its own, for those that `parameters_of` names."""
    found: dict[str, list[str]] = {}
    for name in parameters_of(model, layers):
        found.setdefault(layer_of(name), []).append(name)
    return found


def blocks_of(sizes: Mapping[str, int]) -> dict[str, slice]:
    """Name -> its slice of one vector that holds so many numbers of each, one after the other."""
    ends = itertools.accumulate(sizes.values())
    return {
        name: slice(end - size, end) for (name, size), end in zip(sizes.items(), ends, strict=True)
    }


class Reading(NamedTuple):
    """What is read of a network on some images.

    loss: mean cross-entropy in nats.
    stderr: its standard error over images; infinite for a single one.
    rate: share of right answers.
    """

    loss: float
    stderr: float
    rate: float


@torch.no_grad()
def evaluate(model: nn.Module, images: Tensor, labels: Tensor) -> Reading:
    """The reading of `model`, which must be in eval mode."""
    with exact_float32():
        return read((model(x) for x in images.split(FORWARD_CHUNK)), labels)


def read(logits: Iterable[Tensor], labels: Tensor) -> Reading:
    """The reading of logits that come in chunks of `FORWARD_CHUNK` images."""
    losses, right = [], 0
    for z, y in zip(logits, labels.split(FORWARD_CHUNK), strict=True):
        losses.append(F.cross_entropy(z, y, reduction="none").cpu().double())
        right += int((z.argmax(1) == y).sum())
    loss = torch.cat(losses)
    error = float(loss.std()) / math.sqrt(len(loss)) if len(loss) > 1 else math.inf
    return Reading(float(loss.mean()), error, right / len(loss))


def chunks(images: Tensor, labels: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Pieces of `size` images with their labels; the last one may be shorter."""
    return zip(images.split(size), labels.split(size), strict=True)


@contextlib.contextmanager
def exact_float32() -> Iterator[None]:
    """Switch TensorFloat-32 off: its error of 1e-3 would drown all but the largest eigenvalues."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
