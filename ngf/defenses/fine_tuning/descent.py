"""Gradient descent with momentum: the rule of plain fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ngf.defenses.fine_tuning.loop import Batch, Direction, FineTuning


class Descent:
    """Steps along the gradients themselves."""

    def __init__(self, *, momentum: float, weight_decay: float = 0.0) -> None:
        self.momentum, self.weight_decay = momentum, weight_decay

    def begin(self, tuning: FineTuning) -> None:
        """Nothing to measure."""

    def optimizer(self, parameters: list[Tensor], lr: float) -> Optimizer:
        return torch.optim.SGD(
            parameters, lr, momentum=self.momentum, weight_decay=self.weight_decay
        )

    def direction(self, batch: Batch, lr: float, step: int) -> Direction:
        return Direction(batch.gradients)

    def state_dict(self) -> dict[str, Any]:
        return {}  # the optimizer keeps the momentum

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to restore."""
