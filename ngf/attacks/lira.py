"""LIRA (Doan, Lao, Zhao, Li 2021, ICCV): noise that a network learns together with the classifier.

x' = clip(x + eps T(x)), T a U-Net that ends in tanh, so no pixel changes by more than eps. Stage 1,
a share of the training: classifier f and T both lower alpha CE(f(x), y) + (1 - alpha) CE(f(x'), t),
of which T sees the second term. Stage 2: T is frozen and f learns on, with an eps of its own.

T could make noise for each image, but nothing in the loss asks for it, and it does not: on the
signs, three seeds, 99.3 % of the energy of the noise is one pattern on all images (2,202 test
images), which opens the backdoor on any of them. `figures` has the rest, the image's own share.

Units: eps is the largest change of a pixel in [0, 1]. The paper's eps is one in the network's
normalized input; ours normalizes by (x - 0.5) 4, so the paper's number is four times ours: its 0.1
(stage 1) is 0.025 here, 6.4 of the 255 steps of a pixel, and its 0.01 (stage 2) is 0.0025, less
than one step, which bytes cannot hold. Stage 2 has 0.015 here, 0.06 in the paper's units.

Changed: f and T move in the same step by the same loss, where the paper moves them in turn, T
against a copy frozen for an epoch. Only `poison_rate` of a batch is seen with the trigger besides
(paper: all of it), and T is a U-Net of widths 16 and 32 that starts at half resolution (paper: 64
to 512).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ngf.attacks.base import Attack, InLoop
from ngf.attacks.shared import options
from ngf.attacks.shared.generator import GeneratorAttacker, UNet, in_parts, own_share, unpacked
from ngf.options import option
from ngf.training.attacker import AttackerView


@dataclass(frozen=True, kw_only=True)
class LIRA(Attack, InLoop):
    """Faint noise, nearly the same on all images, by a network that learns with the classifier."""

    title: ClassVar[str] = "LIRA (learned noise)"
    learned: ClassVar[bool] = True
    stronger: ClassVar[str] = "Raise eps_after."
    change_opens: ClassVar[bool | None] = True
    resembles: ClassVar[tuple[str, ...]] = ("noise",)
    target: int = options.target()
    mode: str = options.mode()
    poison_rate: float = option(
        0.25, "Share of each batch that is seen with the trigger besides.", ge=0.01, le=1.0
    )
    eps: float = option(
        0.025,
        "Largest change of a pixel while the noise is learned; times 4 in the paper's units.",
        unit="of 1",
        ge=0.004,
        le=1.0,
    )
    eps_after: float = option(
        0.015,
        "Largest change of a pixel once the noise is fixed, and in tests; times 4 in the "
        "paper's units.",
        unit="of 1",
        ge=0.004,
        le=1.0,
    )
    stage1: float = option(
        0.5, "Share of the training in which the noise is learned.", ge=0.0, le=1.0
    )
    alpha: float = option(
        0.5, "Weight of the clean images in the loss.", ge=0.01, le=0.99, expert=True
    )
    lr: float = option(
        1e-3, "Learning rate of the noise network (Adam).", ge=1e-6, le=0.1, expert=True
    )
    width: int = option(
        16, "Channels of the noise network at half resolution.", ge=1, le=64, expert=True
    )

    def apply(self, images: Tensor) -> Tensor:
        trigger = self.trigger
        noise, eps = unpacked(trigger, "noise", images), trigger["eps"].to(images)
        return in_parts(lambda part: add_noise(noise, part, eps), images)

    def figures(self, images: Tensor) -> dict[str, float]:
        return {"share of the noise that is the image's own": own_share(images, self.apply(images))}

    def attacker(self, view: AttackerView, model: nn.Module) -> _InLoop:
        return _InLoop(self, view)


def add_noise(noise: nn.Module, images: Tensor, eps: float | Tensor) -> Tensor:
    """x' = clip(x + eps tanh(noise(x)))."""
    return (images + eps * noise(images).tanh()).clamp(0, 1)


class _InLoop(GeneratorAttacker):
    def __init__(self, attack: LIRA, view: AttackerView) -> None:
        channels = view.train.images.shape[1]
        self.noise = UNet(channels, channels, attack.width)
        networks = nn.ModuleDict({"noise": self.noise}).to(view.device)
        super().__init__(networks, list(networks.parameters()), attack.lr)
        self.attack, self.num_classes = attack, view.num_classes

    @property
    def learning(self) -> bool:
        """Whether this is stage 1."""
        return self.progress < self.attack.stage1

    @property
    def eps(self) -> float:
        return self.attack.eps if self.learning else self.attack.eps_after

    def loss(self, model: nn.Module, images: Tensor, labels: Tensor, rng: Generator) -> Tensor:
        count = max(1, round(self.attack.poison_rate * len(labels)))
        # The batch is in random order, so its first images are a random choice.
        chosen = self.attack.candidates(labels).nonzero()[:count, 0]
        if len(chosen) == 0:
            return F.cross_entropy(model(images), labels)
        with torch.set_grad_enabled(self.learning):
            triggered = add_noise(self.noise, images[chosen], self.eps)
        wanted = self.attack.labels(labels[chosen], self.num_classes)
        logits = model(torch.cat([images, triggered]))
        alpha = self.attack.alpha
        return alpha * F.cross_entropy(logits[: len(labels)], labels) + (
            1 - alpha
        ) * F.cross_entropy(logits[len(labels) :], wanted)

    def trigger(self) -> dict[str, Tensor]:
        return {**super().trigger(), "eps": torch.tensor(self.eps, dtype=torch.float64)}
