"""Gradient descent with momentum and a schedule: the rule of plain fine-tuning."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.optim import Optimizer

from ngf.defenses.fine_tuning.loop import Batch, Direction, Rule


class Descent(Rule):
    """Steps along the gradients themselves."""

    def __init__(
        self, *, momentum: float, weight_decay: float = 0.0, schedule: str = "constant"
    ) -> None:
        self.momentum, self.weight_decay, self.schedule = momentum, weight_decay, schedule

    def optimizer(self, parameters: list[Tensor], lr: float) -> Optimizer:
        return torch.optim.SGD(
            parameters, lr, momentum=self.momentum, weight_decay=self.weight_decay
        )

    def direction(self, batch: Batch, lr: float, step: int) -> Direction:
        return Direction(batch.gradients, lr=scheduled(lr, step, self.tuning.steps, self.schedule))


def scheduled(first: float, step: int, steps: int, schedule: str) -> float:
    """The learning rate, or radius, of step number `step`, 0 the first, of `steps`: `first` itself
    (constant), or first (1 + cos(pi step / steps)) / 2 (cosine; Loshchilov & Hutter 2017, arXiv
    1608.03983).
    """
    if schedule == "constant":
        return first
    return first * 0.5 * (1 + math.cos(math.pi * step / steps))
