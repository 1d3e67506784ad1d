"""Which network some weights are of, by their names and shapes.

A network fits if each of its weights is there in its shape. What a file holds beyond that is told,
and so is what old files lack: counts of batches, which nothing in eval mode reads. Where several
networks fit, as with and without max pooling, nothing in the weights tells them apart: the clean
images do, see `ngf.imports.preprocessing`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ngf.models import MODELS
from ngf.models.of_others.table import OTHERS
from ngf.options import Explained

_COUNTS = "num_batches_tracked"
_HEADS = ("fc", "linear", "head", "heads.head", "classifier")
_SHOWN = 3
_SIDES = (32, 64, 128)  # below 64 and 128 pixels some of our networks have other shapes


class NotRecognized(Explained, ValueError):
    """Weights of no network that is known; the message says what is nearest and how it differs."""

    kind = "bad_checkpoint"
    advice = (
        "Name the network that the file is of with --model; `ngf import --models` lists those that "
        "are known. A network of your own cannot be imported yet."
    )


@dataclass(frozen=True)
class Shape:
    """What all networks that fit have in common.

    head: name of the layer whose rows are the classes.
    """

    num_classes: int
    in_channels: int
    head: str


@dataclass(frozen=True)
class Fit:
    """A network that weights fit.

    name: of `OTHERS` or of `MODELS`. extra: names that it has no place for. counts: names of counts
    that the file lacks.
    """

    name: str
    extra: tuple[str, ...]
    counts: tuple[str, ...]

    @property
    def title(self) -> str:
        return title(self.name)

    @property
    def usual_side(self) -> int:
        """Pixels of a side of the images that such a network is usually trained on."""
        return OTHERS[self.name].side if self.name in OTHERS else 32


def title(name: str) -> str:
    """A network in words."""
    if name in OTHERS:
        return OTHERS[name].title
    return f"{MODELS[name].title.split(' (')[0]}, as this program trains it"


def shape_of(tensors: Mapping[str, Tensor]) -> Shape:
    """What the first convolution takes and the last layer gives. Raises NotRecognized."""
    weights = {name: value for name, value in tensors.items() if name.endswith("weight")}
    taken = {value.shape[1] for value in weights.values() if value.ndim == 4}
    heads = [
        name
        for name, value in weights.items()
        if value.ndim in (2, 4)
        and value[0].numel() == value.shape[1]
        and name.removesuffix("weight") + "bias" in tensors
    ]
    if not taken or not heads:
        lacking = "convolution" if not taken else "last layer with a bias for each class"
        raise NotRecognized(f"These weights have no {lacking}: they are of no image classifier.")
    # a depthwise convolution takes one channel as well, so color comes first
    channels = next((count for count in (3, 1) if count in taken), min(taken))
    head = max(heads, key=_like_a_head)
    return Shape(len(tensors[head]), channels, head.removesuffix(".weight"))


def _like_a_head(name: str) -> tuple[int, int]:
    """Files sort their weights as they please, so the last layer is known by what it is called; of
    several parts of a classifier, it is the last one.
    """
    layer = name.removesuffix(".weight")
    if layer in _HEADS:
        return 2, 0
    place = layer.removeprefix("classifier.")
    return (1, int(place)) if place.isdigit() else (0, 0)


def recognize(tensors: Mapping[str, Tensor], name: str = "") -> tuple[Shape, list[Fit]]:
    """The networks that fit, one at least; only `name` is tried where one is given. Raises
    NotRecognized.
    """
    shape = shape_of(tensors)
    if name and name not in OTHERS and name not in MODELS:
        raise NotRecognized(f"There is no network {name!r}.")
    wanted = [name] if name else _candidates(tensors)
    built = {one: _shapes(one, shape) for one in wanted}
    fits = [fit for one, found in built.items() if (fit := _fit(one, found, tensors)) is not None]
    if not fits:
        raise NotRecognized(_nearest(built, tensors))
    exact = [fit for fit in fits if not fit.extra]
    return shape, exact or fits


def _candidates(tensors: Mapping[str, Tensor]) -> list[str]:
    """Networks whose first weight is there by its name; all where none is."""
    ours = list(MODELS)
    others = [name for name, known in OTHERS.items() if known.first in tensors]
    return [*others, *ours] if others else [*ours, *OTHERS]


def build(name: str, shape: Shape, side: int) -> nn.Module:
    """The bare network `name`, which takes normalized images where it is one of `OTHERS`."""
    if name in OTHERS:
        return OTHERS[name].build(shape.num_classes, shape.in_channels)
    return MODELS[name].build(shape.num_classes, shape.in_channels, side)


@functools.lru_cache(1000)  # dozens are built for one file, which is looked at more than once
def _shapes(name: str, shape: Shape) -> list[dict[str, torch.Size]]:
    """Names and shapes of the weights of a network, for each size of images that changes them."""
    found: list[dict[str, torch.Size]] = []
    for side in _SIDES if name in MODELS else _SIDES[:1]:
        with torch.device("meta"):
            model = build(name, shape, side)
        shapes = {key: value.shape for key, value in model.state_dict().items()}
        if shapes not in found:
            found.append(shapes)
    return found


def _fit(
    name: str, built: Iterable[Mapping[str, torch.Size]], tensors: Mapping[str, Tensor]
) -> Fit | None:
    for shapes in built:
        lacking = [key for key in shapes if key not in tensors]
        same = all(tensors[key].shape == shapes[key] for key in shapes if key in tensors)
        if same and all(key.endswith(_COUNTS) for key in lacking):
            extra = tuple(key for key in tensors if key not in shapes)
            return Fit(name, extra, tuple(lacking))
    return None


def _nearest(
    built: Mapping[str, Iterable[Mapping[str, torch.Size]]], tensors: Mapping[str, Tensor]
) -> str:
    """The network that has most weights in common, and the first differences, in a sentence."""

    def common(shapes: Mapping[str, torch.Size]) -> float:
        same = sum(key in tensors and tensors[key].shape == shapes[key] for key in shapes)
        return same / (len(shapes.keys() | tensors.keys()))

    _, name, shapes = max(
        ((common(one), name, one) for name, all_sizes in built.items() for one in all_sizes),
        key=lambda found: found[0],
    )
    differences = list(_differences(shapes, tensors))
    more = f" and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
    return (
        f"These weights are of no network that is known. The nearest is {title(name)}; the "
        f"first differences: {'; '.join(differences[:_SHOWN])}{more}."
    )


def _differences(shapes: Mapping[str, torch.Size], tensors: Mapping[str, Tensor]) -> Iterable[str]:
    for key, wanted in shapes.items():
        if key not in tensors:
            if not key.endswith(_COUNTS):
                yield f"{key} is missing"
        elif tensors[key].shape != wanted:
            yield f"{key} is {_size(tensors[key].shape)}, not {_size(wanted)}"
    for key in tensors:
        if key not in shapes:
            yield f"{key} is too many"


def _size(shape: torch.Size) -> str:
    return "x".join(map(str, shape)) or "a number"


def filled(fit: Fit, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights that the network of `fit` has a place for, with counts of batches where the file
    lacks them.
    """
    kept = {name: value for name, value in tensors.items() if name not in set(fit.extra)}
    return kept | {name: torch.tensor(0) for name in fit.counts}
