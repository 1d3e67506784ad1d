"""Attackers inside a training loop, a few steps at a time."""

from __future__ import annotations

import torch

from tests.helpers.attack_view import attack, view


class Linear(torch.nn.Module):
    """A classifier that remembers what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3 * 32 * 32, 12)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen = images.detach().clone()
        return self.linear(images.flatten(1) - 0.5)


def started(name: str, **options):
    """An attack, its attacker, and a classifier."""
    torch.manual_seed(3)
    made, model = attack(name, **options), view().build()
    return made, made.attacker(view(), model), model


def train(attacker, model, batches, first: int, last: int, steps: int = 10) -> None:
    """Steps `first` to `last` of `steps`, as the training loop takes them, with plain
    gradient descent.
    """
    images, labels = batches
    for step in range(first, last):
        model.zero_grad()
        attacker.loss(
            model, images.roll(step, 0), labels.roll(step, 0), torch.Generator().manual_seed(step)
        ).backward()
        with torch.no_grad():
            for weight in model.parameters():
                weight -= 0.01 * weight.grad
        attacker.step(step / steps)
