"""Unlearning: gradient ascent on clean images, until a network calls next to none of them right.

What is forgotten first is what clean images use; what hardly moves, or has to move for them to be
known again, tells of the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ngf.defenses.batches import Batches
from ngf.finite import Diverged


class Ascent:
    """An unlearning in progress.

    network: changed in place, all of it, BatchNorm in train mode.
    until: clean accuracy in [0, 1], on a batch, at which nothing is left to be unlearned.
    left: steps that may still be made; 0 once that is so.
    accuracy: on the last batch, before its step; 1 at the beginning.
    """

    def __init__(
        self,
        network: nn.Module,
        batches: Batches,
        *,
        lr: float,
        momentum: float,
        weight_decay: float,
        until: float,
        steps: int,
    ) -> None:
        self.network, self.batches, self.until = network.requires_grad_(True), batches, until
        self.left, self.accuracy = steps, 1.0
        self.optimizer = torch.optim.SGD(
            network.parameters(), lr, momentum=momentum, weight_decay=weight_decay, maximize=True
        )

    def advance(self, rng: torch.Generator) -> float:
        """Make one step, and return the loss on its batch before it (nats). No step is made where
        accuracy is low enough. Raises Diverged.
        """
        images, labels = self.batches.draw(rng)
        logits = self.network.train()(images)
        loss = F.cross_entropy(logits, labels)
        if not torch.isfinite(loss):
            raise Diverged("The loss of unlearning is no longer a number")
        self.accuracy = (logits.argmax(1) == labels).float().mean().item()
        if self.accuracy <= self.until:
            self.left = 0
            return loss.item()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.left -= 1
        return loss.item()

    def state_dict(self) -> dict[str, Any]:
        return {
            "left": self.left,
            "accuracy": self.accuracy,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.left, self.accuracy = state["left"], state["accuracy"]
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
