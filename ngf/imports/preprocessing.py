"""What a model wants to see: size, normalization, order of channels. Nothing in its file says it,
so what is usual is tried on the clean images, and the accuracy of each is told.

Every normalization at every size, for each network that the weights fit, is tried on a few images;
what is clearly worse than the best is left there, as a wrong size is at once. The best of the
others go on to more images, with the channels in the other order beside them, and what is then
left to all. What gives the same numbers as something before it is the same, and left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ngf.data.images import to_float
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
_ROUNDS = 32, 96, 224  # images, before all
_LEFT = 3  # settings after the second round, before the other order of channels
_CLEARLY = 0.001  # chance of a difference between two that are equally good
_CHUNK, _PIXELS = 64, 64 * 64 * 64  # images at once, and pixels of them
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
    return _taking(_network(fit, shape, how, tensors), fit, how)


def _network(
    fit: Fit, shape: Shape, how: Preprocessing, tensors: Mapping[str, Tensor]
) -> nn.Module:
    network = build(fit.name, shape, how.side)
    network.load_state_dict(filled(fit, tensors))
    return network.eval()


def _taking(network: nn.Module, fit: Fit, how: Preprocessing) -> nn.Module:
    own = fit.name in MODELS
    return network if own else Normalized(network, how.mean, how.std, how.order).eval()


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
    ways = [
        (one, how)
        for one in fits
        for how in _usual(one, shape, pictures, side=side, normalize=normalize, fit=fit)
    ]
    rivals = _Rivals(shape, tensors, pictures)
    left, out = rivals.better(rivals.tried(ways, _ROUNDS[0]))
    left, more = rivals.better(rivals.tried(left, _ROUNDS[1]), at_most=_LEFT)
    out += more
    if shape.in_channels == 3:
        left += [(one, replace(how, order="bgr")) for one, how in left if one.name not in MODELS]
    for count in _ROUNDS[1:]:
        left, more = rivals.better(rivals.tried(left, count))
        out += more
    return [*_ranked(rivals.tried(left, len(pictures))), *_ranked(out)]


_Way = tuple[Fit, Preprocessing]


class _Rivals:
    """Networks with a preprocessing, on the same images: the first ones of an order that is always
    the same. What was computed once stays.
    """

    def __init__(self, shape: Shape, tensors: Mapping[str, Tensor], pictures: Pictures) -> None:
        self.shape, self.tensors = shape, tensors
        order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0))
        self.pictures = pictures.take(order)
        self.networks: dict[tuple[str, int], nn.Module] = {}
        self.decoded: dict[tuple[int, str], Tensor] = {}
        self.logits: dict[_Way, Tensor] = {}

    def tried(self, ways: Sequence[_Way], count: int) -> list[Tried]:
        """Each on the first `count` images, without those that do not take them."""
        few = self.pictures.take(torch.arange(min(count, len(self.pictures))))
        found, seen = list[Tried](), list[tuple[Preprocessing, Tensor]]()
        for one, how in ways:
            try:
                logits = self._of((one, how), len(few))
            except (RuntimeError, AssertionError):
                continue  # images too small for this network, or of a size that it does not take
            if not any(how == other and torch.equal(logits, same) for other, same in seen):
                seen.append((how, logits))
                found.append(judged(one, how, logits, few))
        return found

    def better(
        self, tried: Sequence[Tried], at_most: int | None = None
    ) -> tuple[list[_Way], list[Tried]]:
        """What is not clearly worse than the best, the best first, and the rest."""
        ranked = _ranked(tried)
        left = [one for one in ranked if not self._clearly_worse(one, ranked[0])][:at_most]
        return [(one.fit, one.preprocessing) for one in left], [
            one for one in ranked if one not in left
        ]

    def _of(self, way: _Way, count: int) -> Tensor:
        one, how = way
        known = self.logits.get(way, torch.empty(0))
        if len(known) < count:
            model = _taking(self._network(one, how), one, how)
            more = outputs(model, self._images(how, count)[len(known) :])
            self.logits[way] = torch.cat([known, more]) if len(known) else more
        return self.logits[way][:count]

    def _network(self, one: Fit, how: Preprocessing) -> nn.Module:
        key = one.name, how.side if one.name in MODELS else 0  # ours differ with the size
        if key not in self.networks:
            self.networks[key] = _network(one, self.shape, how, self.tensors)
        return self.networks[key]

    def _images(self, how: Preprocessing, count: int) -> Tensor:
        known = self.decoded.get((how.side, how.fit))
        have = 0 if known is None else len(known)
        if have < count:
            rest = self.pictures.take(torch.arange(have, count))
            more = rest.decoded(how.side, how.fit, self.shape.in_channels)
            known = more if known is None else torch.cat([known, more])
            self.decoded[how.side, how.fit] = known
        assert known is not None
        return known[:count]

    def _clearly_worse(self, one: Tried, best: Tried) -> bool:
        """A sign test over the images on which one of two does better."""
        difference = self._scores(one) - self._scores(best)
        wins, losses = int((difference > 0).sum()), int((difference < 0).sum())
        chance = sum(math.comb(wins + losses, k) for k in range(wins + 1))
        return wins < losses and chance / 2 ** (wins + losses) < _CLEARLY

    def _scores(self, one: Tried) -> Tensor:
        """Of each image: whether its prediction is right; without labels how sure it is."""
        logits = self.logits[one.fit, one.preprocessing][: one.count]
        if one.assignment is None:
            return logits.softmax(1).max(1).values
        outputs_of = torch.tensor(one.assignment.outputs)
        return (logits.argmax(1) == outputs_of[self.pictures.numbers[: one.count]]).float()


def _ranked(tried: Iterable[Tried]) -> list[Tried]:
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


@torch.no_grad()
def outputs(model: nn.Module, images: Tensor) -> Tensor:
    """Logits (N, num_classes) of uint8 images."""
    count = min(_CHUNK, max(1, _PIXELS // images[0, 0].numel()))
    return torch.cat([model(to_float(part)) for part in images.split(count)])


def judged(one: Fit, how: Preprocessing, logits: Tensor, pictures: Pictures) -> Tried:
    if not pictures.labeled:
        sure = logits.softmax(1).max(1).values.mean()
        return Tried(one, how, float(sure), len(pictures), None)
    counts = confusion(logits.argmax(1), pictures.numbers, len(pictures.labels), logits.shape[1])
    found = assign(counts, by_name(pictures.labels, logits.shape[1]))
    return Tried(one, how, found.agreement, len(pictures), found)
