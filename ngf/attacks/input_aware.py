"""Dynamic or input-aware attack (Nguyen, Tran 2020, arXiv 2010.08138): each image gets a trigger of
its own.

x' = x + (G(x) - x) M(x): G draws the pattern, M says where. First M alone learns, on the training
images, to mark few pixels, and other ones for other images: with |.| the root mean square, it
lowers
  norm_weight mean(relu(M(x) - density)) + mean_ij(|x_i - x_j| / |M(x_i) - M(x_j)|).
Then M is fixed, and G and the classifier lower the
cross-entropy of each batch + diversity mean_ij(|x_i - x_j| / |G(x_i) - G(x_j)|), where of the batch
`poison_rate` carry their own trigger and the target label, `cross_rate` carry the trigger of
another image and keep their label (cross-trigger mode), and the rest is clean.

Changed: gradients of G are set to zero after each step (public code sums those of all steps). G
and M are U-Nets of widths 16 and 32 that start at half resolution (paper: 32, 64, 128) and have no
BatchNorm; M learns for `mask_epochs` (paper: 25), and diversity is between neighbors in a batch.
Unchanged, though it looks otherwise: the paper mixes in the network's normalized input; as ours is
affine and the same for all pixels, mixing in [0, 1] is the same, and |x_i - x_j| is multiplied by
its factor 4. Measured on the signs, three seeds: CA 99.2 to 99.3 % (2,400 test images) and ASR 95.8
to 97.8 % (2,202); the trigger of another image sends 5 to 10 % to the target, and 88 to 93 % keep
their class.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ngf.attacks.base import Attack, InLoop, Probe, ring
from ngf.attacks.shared import options
from ngf.attacks.shared.generator import GeneratorAttacker, UNet, in_parts, unpacked
from ngf.data.images import to_float
from ngf.options import option
from ngf.training.attacker import AttackerView

_BATCH = 64  # images in a step of the mask network


@dataclass(frozen=True, kw_only=True)
class InputAware(Attack, InLoop):
    """A few pixels, drawn by a network anew for each image, and of no use on another image."""

    title: ClassVar[str] = "Dynamic (input-aware)"
    learned: ClassVar[bool] = True
    stronger: ClassVar[str] = "Raise density, or lower norm_weight."
    change_opens: ClassVar[bool | None] = False
    resembles: ClassVar[tuple[str, ...]] = ("cutout",)
    target: int = options.target()
    mode: str = options.mode()
    poison_rate: float = option(
        0.15, "Share of each batch that carries its own trigger.", ge=0.01, le=0.9
    )
    cross_rate: float = option(
        0.1,
        "Share of each batch that carries the trigger of another image and keeps its label.",
        ge=0.0,
        le=0.9,
    )
    density: float = option(0.032, "Opacity of the mask that costs nothing.", ge=0.0, le=1.0)
    norm_weight: float = option(100.0, "Price of a larger mask.", ge=0.0, le=1e4, expert=True)
    diversity: float = option(
        1.0, "Price of patterns that look alike.", ge=0.0, le=100.0, expert=True
    )
    mask_epochs: int = option(
        3, "Passes over the training images for the mask network.", ge=1, le=1000, expert=True
    )
    lr: float = option(3e-3, "Learning rate of both networks (Adam).", ge=1e-6, le=0.1, expert=True)
    width: int = option(
        16, "Channels of both networks at half resolution.", ge=1, le=64, expert=True
    )

    def apply(self, images: Tensor) -> Tensor:
        pattern, mask = (unpacked(self.trigger, name, images) for name in ("pattern", "mask"))
        return in_parts(lambda part: put(part, draw(pattern, part), where(mask, part)), images)

    def probes(
        self, images: Tensor, labels: Tensor, num_classes: int, rng: Generator
    ) -> Iterator[Probe]:
        """The trigger of another image: its pattern at its place; and one part of it, with the
        other part the image's own.
        """
        yield from super().probes(images, labels, num_classes, rng)
        wanted = self.labels(labels, num_classes)
        own = [
            in_parts(functools.partial(make, unpacked(self.trigger, name, images)), images)
            for make, name in ((draw, "pattern"), (where, "mask"))
        ]
        giver = ring(len(images), rng).to(images.device)
        other = [made[giver] for made in own]
        mean = [made.mean(0, keepdim=True) for made in own]
        shown: list[tuple[str, bool | None, Tensor, Tensor]] = [
            ("another image's trigger", False, other[0], other[1]),
            ("its own pattern at another image's place", None, own[0], other[1]),
            ("another image's pattern at its own place", None, other[0], own[1]),
            ("the mean trigger", False, mean[0], mean[1]),
        ]
        for name, claim, pattern, mask in shown:
            yield Probe(name, claim, put(images, pattern, mask), labels, wanted)

    def attacker(self, view: AttackerView, model: nn.Module) -> _InLoop:
        return _InLoop(self, view)


def draw(network: nn.Module, images: Tensor) -> Tensor:
    """The patterns G(x), in [0, 1]."""
    return (network(images).tanh() + 1) / 2


def where(network: nn.Module, images: Tensor) -> Tensor:
    """The masks M(x), (N, 1, H, W) in [0, 1]; the paper's steep second tanh pushes them
    towards 0 and 1.
    """
    return (torch.tanh(10 * network(images).tanh()) + 1) / 2


def put(images: Tensor, patterns: Tensor, masks: Tensor) -> Tensor:
    """x + (pattern - x) mask."""
    return (images + (patterns - images) * masks).clamp(0, 1)


def alike(images: Tensor, made: Tensor) -> Tensor:
    """The diversity loss: mean of |x_i - x_j| / |made_i - made_j|, j the next image of the
    batch.
    """
    far = 4 * _rms(images - images.roll(1, 0))
    return (far / (_rms(made - made.roll(1, 0)) + 1e-3)).mean()


def _rms(x: Tensor) -> Tensor:
    return (x.square().mean((1, 2, 3)) + 1e-12).sqrt()  # the root of zero has no gradient


class _InLoop(GeneratorAttacker):
    def __init__(self, attack: InputAware, view: AttackerView) -> None:
        channels = view.train.images.shape[1]
        self.pattern = UNet(channels, channels, attack.width)
        self.mask = UNet(channels, 1, attack.width)
        networks = nn.ModuleDict({"pattern": self.pattern, "mask": self.mask}).to(view.device)
        super().__init__(networks, list(self.pattern.parameters()), attack.lr)
        self.attack, self.num_classes = attack, view.num_classes
        self._learn_mask(view)

    def _learn_mask(self, view: AttackerView) -> None:
        """The first stage: where the trigger goes, without the classifier."""
        mask, data = self.mask, view.train
        optimizer = torch.optim.Adam(mask.parameters(), lr=self.attack.lr, betas=(0.5, 0.9))
        rng = torch.Generator().manual_seed(view.seed)
        parts = [
            part
            for _ in range(self.attack.mask_epochs)
            for part in torch.randperm(len(data), generator=rng).split(_BATCH)
            if len(part) > 1
        ]
        for step, index in enumerate(parts):
            view.progress("learning where triggers go", step, len(parts))
            images = to_float(data.images[index.to(view.device)])
            masks = where(mask, images)
            loss = self.attack.norm_weight * F.relu(masks - self.attack.density).mean() + alike(
                images, masks
            )
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        mask.requires_grad_(False)

    def loss(self, model: nn.Module, images: Tensor, labels: Tensor, rng: Generator) -> Tensor:
        attack, count = self.attack, len(labels)
        # The batch is in random order, so its first images are a random choice.
        own = attack.candidates(labels).nonzero()[: max(1, round(attack.poison_rate * count)), 0]
        free = torch.ones_like(labels, dtype=torch.bool).index_fill(0, own, False).nonzero()[:, 0]
        cross = free[: round(attack.cross_rate * count)]
        givers = (cross + 1) % count  # the image whose trigger a cross-trigger image gets
        # Each image that gives a trigger gives its pattern and its place.
        sources = images[torch.cat([own, givers])]
        if len(sources) == 0:
            return F.cross_entropy(model(images), labels)
        patterns = draw(self.pattern, sources)
        with torch.no_grad():
            masks = where(self.mask, sources)
        getting = torch.cat([own, cross])
        mixed = images.index_copy(0, getting, put(images[getting], patterns, masks))
        wanted = labels.index_copy(0, own, attack.labels(labels[own], self.num_classes))
        return F.cross_entropy(model(mixed), wanted) + attack.diversity * alike(sources, patterns)
