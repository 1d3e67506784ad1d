"""The one training loop, for benign and backdoored models alike, and what it must have reached."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ngf.config import Training
from ngf.data.augment import draw_weak, weak
from ngf.data.images import Images, to_float
from ngf.evaluate import Rates
from ngf.finite import Diverged, check_weights
from ngf.training.attacker import InLoopAttacker
from ngf.training.team import ALONE, Team

# A prime above any number of epochs: no two pairs (seed, epoch) share their random numbers.
_EPOCHS = 100_003


@dataclass(frozen=True)
class Epoch:
    """One pass over the training images: number (from 1), mean loss, last learning rate."""

    epoch: int
    loss: float
    lr: float


class Trainer:
    """SGD with momentum and a one-cycle learning rate; iterating yields one `Epoch` after each
    pass.

    `attacker`, where there is one, gives the loss of each batch: an attacker inside the loop, or
    adversarial training. Everything random in epoch e comes from (seed, e), so a run resumed from
    `state_dict()` after any epoch is the undisturbed run.

    team: the processes that share each batch. Every one of them draws the random numbers of the
        whole batch, and takes its part of the images and of the numbers; an attacker is given all.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Images,
        settings: Training,
        *,
        seed: int,
        survives_flip: list[bool] | None = None,
        attacker: InLoopAttacker | None = None,
        team: Team = ALONE,
    ) -> None:
        self.model, self.data, self.settings, self.seed = model, data, settings, seed
        self.attacker, self.team = attacker, team
        self.network = team.network(model, settings.sync_batch_norm, whole=attacker is not None)
        self.survives_flip = None if survives_flip is None else torch.tensor(survives_flip)
        self.epoch = 0
        # Called before every step; may raise to stop there, after which the last checkpoint still
        # holds.
        self.before_step: Callable[[], None] = lambda: None
        self.optimizer = torch.optim.SGD(
            model.parameters(),
            lr=settings.lr,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            nesterov=settings.momentum > 0,
        )

    def __iter__(self) -> Iterator[Epoch]:
        self.team.equalize(self)
        while self.epoch < self.settings.epochs:
            yield self._pass()

    def _pass(self) -> Epoch:
        batch = min(self.settings.batch_size, len(self.data))
        rng = torch.Generator().manual_seed(self.seed * _EPOCHS + self.epoch)
        order = torch.randperm(len(self.data), generator=rng).to(self.data.labels.device)
        starts = range(0, len(self.data) - batch + 1, batch)
        steps = self.settings.epochs * len(starts)
        self.network.train()
        if self.attacker:
            self.team.equalize(self.attacker)
        total = torch.zeros((), device=next(self.model.parameters()).device)
        for k, start in enumerate(starts):
            self.before_step()
            progress = (self.epoch * len(starts) + k) / steps
            lr = one_cycle(progress, self.settings.lr)
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            loss = self._loss(order[start : start + batch], rng)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            if self.attacker:
                self.attacker.step(progress)
            total += loss.detach()
        mean = self.team.mean(total).item() / len(starts)
        self.epoch += 1
        if not math.isfinite(mean):
            raise Diverged("The training loss is no longer a number", self.epoch, unit="epoch")
        check_weights(self.model.state_dict(), self.epoch, "epoch")  # the last update counts too
        return Epoch(self.epoch, mean, lr)

    def _loss(self, index: Tensor, rng: torch.Generator) -> Tensor:
        """The loss of the images at `index`: its mean over the team is that of the batch."""
        count = len(index)
        part = slice(0, count) if self.attacker else self.team.part(count)
        moves, flips = draw_weak(count, rng)
        index = index[part]
        where = next(self.model.parameters()).device
        labels = self.data.labels[index].to(where)
        images = weak(
            to_float(self.data.images[index].to(where)),
            labels,
            moves[:, part],
            flips[part],
            survives_flip=self.survives_flip,
        )
        if self.attacker:
            return self.attacker.loss(self.network, images, labels, rng)
        share = self.team.size * len(index) / count  # 1 in one process
        return F.cross_entropy(self.network(images), labels) * share

    def state_dict(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "control": self.attacker.state_dict() if self.attacker else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch = state["epoch"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.attacker:
            self.attacker.load_state_dict(state["control"])


def one_cycle(progress: float, peak: float, warm: float = 0.25) -> float:
    """Learning rate at `progress` in [0, 1): a line up to `peak`, then half a cosine down to
    almost zero.

    One cycle after Smith & Topin 2018 (arXiv 1708.07120), from a twenty-fifth of the peak as in
    torch's `OneCycleLR`. That one rises by a cosine too and longer.
    """
    if progress < warm:
        return peak * (0.04 + 0.96 * progress / warm)
    return peak * 0.5 * (1 + math.cos(math.pi * (progress - warm) / (1 - warm))) + 1e-4 * peak


def missed_gates(rates: Rates, settings: Training) -> list[dict[str, Any]]:
    """What the model has learned too little of, in the order of the options; empty for one that is
    not weak.

    Each is plain JSON: `gate` (the option's name), `value`, `wanted`, and `reason` in words.
    """
    return [
        {"gate": gate, "value": value, "wanted": wanted, "reason": f"{said} {wanted:.0%} is asked."}
        for gate, value, wanted, said in (
            (
                "min_ca",
                rates.ca,
                settings.min_ca,
                f"Clean accuracy is {rates.ca:.1%} on {rates.n_clean:,} test images; at least",
            ),
            (
                "min_asr",
                rates.asr,
                settings.min_asr,
                f"The attack succeeds on {rates.asr or 0:.1%} of {rates.n_triggered:,} triggered "
                "test images; at least",
            ),
        )
        if value is not None and value < wanted
    ]
