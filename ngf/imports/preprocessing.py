"""What a model wants to see: size, normalization, order of channels. Nothing in its file says it,
so what is usual is tried on the clean images, and the accuracy of each is told.

First on a few images: every normalization at every size, for each network that the weights fit.
Then the best ones on all of them, and with the channels in the other order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ngf.data.images import to_float
from ngf.evaluate import spread
from ngf.imports.classes import Assignment, assign, by_name, confusion
from ngf.imports.pictures import Pictures
from ngf.models import MODELS
from ngf.models.of_others.normalized import Normalized
from ngf.models.of_others.recognize import Fit, Shape, build, filled
from ngf.options import SpecError

OWN = "own"  # a network of this program normalizes by itself
# name -> mean and standard deviation of each channel in [0, 1]
NORMALIZATIONS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
_GRAY = {"mnist": ((0.1307,), (0.3081,)), "half": ((0.5,), (0.5,)), "none": ((0.0,), (1.0,))}
_FEW = 96  # images of the first round
_LEFT = 3  # settings of the second
_CHUNK = 64
SIDES = (8, 512)


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the input of a network.

    side: pixels, to which images are resized. fit: see `Pictures.decoded`. mean, std: by channel;
    empty for a network that normalizes by itself. order: `rgb` or `bgr`.
    """

    side: int
    normalization: str
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    order: str = "rgb"
    fit: str = "squeeze"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        order = ", BGR" if self.order == "bgr" else ""
        return f"{self.side}x{self.side}, normalization {self.normalization}{order}"


@dataclass(frozen=True)
class Tried:
    """A network with a preprocessing, and how it did on so many images.

    agreement: share of right predictions; without labels the mean probability of the predicted
        class. assignment: None without labels.
    """

    fit: Fit
    preprocessing: Preprocessing
    agreement: float
    count: int
    assignment: Assignment | None


def parse_normalization(
    text: str, channels: int
) -> tuple[str, tuple[float, ...], tuple[float, ...]]:
    """A name, or `0.5,0.5,0.5/0.2,0.2,0.2`: its name, mean and std. Raises SpecError."""
    known = NORMALIZATIONS if channels == 3 else _GRAY
    if text in known:
        return (text, *known[text])
    try:
        mean, std = (tuple(map(float, part.split(","))) for part in text.split("/"))
    except ValueError:
        mean, std = (), ()
    if len(mean) != channels or len(std) != channels or min(std, default=0.0) <= 0:
        raise SpecError(
            f"normalize = {text!r} is none. Allowed: {', '.join(known)}, or mean and standard "
            f"deviation of {channels} channels in [0, 1], such as "
            f"{','.join(['0.5'] * channels)}/{','.join(['0.25'] * channels)}."
        )
    return "own numbers", mean, std


def model_of(
    fit: Fit, shape: Shape, how: Preprocessing, tensors: Mapping[str, Tensor]
) -> nn.Module:
    """The network in eval mode with its weights, taking images in [0, 1]."""
    network = build(fit.name, shape, how.side)
    network.load_state_dict(filled(fit, tensors))
    model = network if fit.name in MODELS else Normalized(network, how.mean, how.std, how.order)
    return model.eval()


def try_all(
    fits: Sequence[Fit],
    shape: Shape,
    tensors: Mapping[str, Tensor],
    pictures: Pictures,
    *,
    side: int = 0,
    normalize: str = "",
    fit: str = "squeeze",
) -> list[Tried]:
    """What was tried, the best first; the first entries are of all images. side, normalize: what is
    known already.
    """
    few = pictures.take(spread(len(pictures), _FEW))
    ways = [
        (one, how)
        for one in fits
        for how in _usual(one, shape, pictures, side=side, normalize=normalize, fit=fit)
    ]
    first = _ranked(_try(ways, shape, tensors, few))
    best = [(one.fit, one.preprocessing) for one in first[:_LEFT]]
    if shape.in_channels == 3:
        best += [(one, replace(how, order="bgr")) for one, how in best if one.name not in MODELS]
    known = set(best)
    rest = [one for one in first if (one.fit, one.preprocessing) not in known]
    return [*_ranked(_try(best, shape, tensors, pictures)), *rest]


def _ranked(tried: Iterator[Tried]) -> list[Tried]:
    """By agreement; of equals, as for nearly the same normalization, the one that is more usual."""
    return sorted(tried, key=lambda one: -round(one.agreement, 4))


def _usual(
    one: Fit, shape: Shape, pictures: Pictures, *, side: int, normalize: str, fit: str
) -> Iterator[Preprocessing]:
    for pixels in [side] if side else _sides(one, pictures):
        if one.name in MODELS:
            yield Preprocessing(pixels, OWN, fit=fit)
            continue
        known = NORMALIZATIONS if shape.in_channels == 3 else _GRAY
        for name in [normalize] if normalize else known:
            said, mean, std = parse_normalization(name, shape.in_channels)
            yield Preprocessing(pixels, said, mean, std, fit=fit)


def _sides(one: Fit, pictures: Pictures) -> list[int]:
    """The size that the images have, and the one that is usual for the network."""
    own = pictures.side
    sides = [own] if own is not None and SIDES[0] <= own <= SIDES[1] else []
    return list(dict.fromkeys([*sides, one.usual_side]))


def _try(
    ways: Sequence[tuple[Fit, Preprocessing]],
    shape: Shape,
    tensors: Mapping[str, Tensor],
    pictures: Pictures,
) -> Iterator[Tried]:
    decoded: dict[tuple[int, str], Tensor] = {}
    for one, how in ways:
        key = how.side, how.fit
        if key not in decoded:
            decoded[key] = pictures.decoded(*key, shape.in_channels)
        try:
            logits = outputs(model_of(one, shape, how, tensors), decoded[key])
        except RuntimeError:
            continue  # images too small for this network, or a size that its weights do not have
        yield judged(one, how, logits, pictures)


@torch.no_grad()
def outputs(model: nn.Module, images: Tensor) -> Tensor:
    """Logits (N, num_classes) of uint8 images."""
    return torch.cat([model(to_float(part)) for part in images.split(_CHUNK)])


def judged(one: Fit, how: Preprocessing, logits: Tensor, pictures: Pictures) -> Tried:
    if not pictures.labeled:
        sure = logits.softmax(1).max(1).values.mean()
        return Tried(one, how, float(sure), len(pictures), None)
    counts = confusion(logits.argmax(1), pictures.numbers, len(pictures.labels), logits.shape[1])
    found = assign(counts, by_name(pictures.labels, logits.shape[1]))
    return Tried(one, how, found.agreement, len(pictures), found)
