"""Which network some weights are of, by their names and shapes.

A network fits if each of its weights is there in its shape. What a file holds beyond that is told,
and so is what old files lack: counts of batches, which nothing in eval mode reads. Where several
networks fit, as with and without max pooling, nothing in the weights tells them apart: the clean
images do, see `ngf.imports.preprocessing`.

Networks of timm come after all others, as many of those are the same under another name: where one
is named, in the file or by a person, and where nothing else fits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ngf.models import MODELS
from ngf.models.of_others import timm_networks
from ngf.models.of_others.table import OTHERS, is_other, other
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

    name: of `OTHERS`, of timm or of `MODELS`. extra: names that it has no place for. counts: names
    of counts that the file lacks.
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
        return other(self.name).side if is_other(self.name) else 32


def title(name: str) -> str:
    """A network in words."""
    if is_other(name):
        return other(name).title
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


def recognize(
    tensors: Mapping[str, Tensor], name: str = "", said: str = ""
) -> tuple[Shape, list[Fit]]:
    """The networks that fit, one at least. Raises NotRecognized and NoTimm.

    name: the only one to try, where it is given. said: what the file calls its network.
    """
    if name.startswith(timm_networks.PREFIX):
        return _of_timm(tensors, [name])
    if name and name not in OTHERS and name not in MODELS:
        raise NotRecognized(f"There is no network {name!r}.")
    if name:
        return _of_the_table(tensors, [name])
    if named := _named_in_timm(said):
        with suppress(NotRecognized):
            return _of_timm(tensors, [named])
    likely = [one for one, known in OTHERS.items() if known.first in tensors]
    if not likely and (alike := _alike_in_timm(tensors)):
        return _of_timm(tensors, alike)
    try:
        shape, fits = _of_the_table(tensors, [*likely, *MODELS])
    except NotRecognized:
        if alike := _alike_in_timm(tensors):
            return _of_timm(tensors, alike)
        if likely:
            raise
        return _of_the_table(tensors, [*MODELS, *OTHERS])  # for what is nearest
    exact = [fit for fit in fits if not fit.extra]
    if not exact and (alike := _alike_in_timm(tensors)):
        return _of_timm(tensors, alike)
    return shape, exact or fits


def _of_the_table(tensors: Mapping[str, Tensor], wanted: Sequence[str]) -> tuple[Shape, list[Fit]]:
    shape = shape_of(tensors)
    built = {one: _shapes(one, shape, tensors) for one in wanted}
    fits = [fit for one, found in built.items() if (fit := _fit(one, found, tensors)) is not None]
    if not fits:
        raise NotRecognized(_nearest(built, tensors))
    return shape, fits


def _named_in_timm(said: str) -> str:
    """The network of timm that a file names, as `resnet26d.bt_in1k` does, unless torchvision has
    one of this name, or timm is not installed; else nothing.
    """
    own = said.partition(".")[0]
    known = timm_networks.is_name(own) and f"torchvision.{own}" not in OTHERS
    return timm_networks.PREFIX + own if known and timm_networks.is_installed() else ""


def _alike_in_timm(tensors: Mapping[str, Tensor]) -> list[str]:
    """The networks of timm whose weights have the same names. Raises NoTimm where there are some
    and timm is not installed.
    """
    alike = timm_networks.called_like(tensors)
    if alike and not timm_networks.is_installed():
        own = [name.removeprefix(timm_networks.PREFIX) for name in alike]
        more = f" and {len(own) - _SHOWN} more" if len(own) > _SHOWN else ""
        raise timm_networks.NoTimm(
            f"These weights have the names of timm's {', '.join(own[:_SHOWN])}{more}, and timm is "
            f"not installed. Install it: {timm_networks.INSTALL}."
        )
    return alike


def _of_timm(tensors: Mapping[str, Tensor], names: Sequence[str]) -> tuple[Shape, list[Fit]]:
    built, found = {}, list[tuple[Shape, Fit]]()
    for name in names:
        shape = Shape(*timm_networks.ends(name, tensors))
        built[name] = _shapes(name, shape, tensors)
        if (fit := _fit(name, built[name], tensors)) is not None:
            found.append((shape, fit))
    if not found:
        raise NotRecognized(_nearest(built, tensors))
    first, _ = found[0]
    return first, [fit for shape, fit in found if shape == first]


def build(name: str, shape: Shape, side: int) -> nn.Module:
    """The bare network `name`, which takes normalized images where it is somebody else's."""
    if is_other(name):
        return other(name).build(shape.num_classes, shape.in_channels)
    return MODELS[name].build(shape.num_classes, shape.in_channels, side)


class _Unset(TorchFunctionMode):
    """Weights without numbers need no initial ones, which take most of the time."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return args[0] if func in _DRAWN else func(*args, **(kwargs or {}))


_DRAWN = (Tensor.normal_, Tensor.uniform_, Tensor.erfinv_)


def _shapes(name: str, shape: Shape, tensors: Mapping[str, Tensor]) -> list[dict[str, torch.Size]]:
    """Names and shapes of the weights of a network, for each size of images that changes them; for
    one where the names, which no size changes, are others than those of `tensors`.
    """
    found: list[dict[str, torch.Size]] = []
    for side in _SIDES if name in MODELS else _SIDES[:1]:
        with torch.device("meta"), _Unset():
            model = build(name, shape, side)
        shapes = {key: value.shape for key, value in model.state_dict().items()}
        if shapes not in found:
            found.append(shapes)
        if any(key not in tensors and not key.endswith(_COUNTS) for key in shapes):
            break
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
