"""Gradient descent with momentum and a schedule: the rule of plain fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ngf.defenses.fine_tuning.loop import Batch, Direction, FineTuning


class Descent:
    """Steps along the gradients themselves."""

    tries = False

    def __init__(
        self, *, momentum: float, weight_decay: float = 0.0, schedule: str = "constant"
    ) -> None:
        self.momentum, self.weight_decay, self.schedule = momentum, weight_decay, schedule

    def begin(self, tuning: FineTuning) -> None:
        self.steps = tuning.steps

    def optimizer(self, parameters: list[Tensor], lr: float) -> Optimizer:
        return torch.optim.SGD(
            parameters, lr, momentum=self.momentum, weight_decay=self.weight_decay
        )

    def direction(self, batch: Batch, lr: float, step: int) -> Direction:
        return Direction(batch.gradients, lr=scheduled(lr, step, self.steps, self.schedule))

    def state_dict(self) -> dict[str, Any]:
        return {}  # the optimizer keeps the momentum

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to restore."""


def scheduled(first: float, step: int, steps: int, schedule: str) -> float:
    """The learning rate, or radius, of step number `step`, 0 the first, of `steps`: `first` itself
    (constant), or first (1 + cos(pi step / steps)) / 2 (cosine; Loshchilov & Hutter 2017, arXiv
    1608.03983).
    """
    if schedule == "constant":
        return first
    return first * 0.5 * (1 + math.cos(math.pi * step / steps))
