"""What the public code of NGF does (github kr-anonymous/ngf-animus), without its crashes.

It differs from the paper's text: *all* layers move, by SGD with momentum; only the gradient of the
last linear layer is preconditioned, by EKFAC on the empirical Fisher (`ngf.optim.ekfac_released`);
there is no regularizer; and because the schedule is stepped before the first epoch, the learning
rate is lr/10 for the first two fifths of the steps and lr/100 after. Weight decay starts after 200
steps. BatchNorm in train mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from ngf.defenses.budget import Budget
from ngf.defenses.fine_tuning import options
from ngf.defenses.fine_tuning.choosing import FineTuningDefense
from ngf.defenses.fine_tuning.loop import Batch, Direction, Rule
from ngf.models import Tuned
from ngf.optim.ekfac_released import ReleasedEKFAC
from ngf.optim.natural_gradient import with_ones
from ngf.options import check_fields, option

_WEIGHT_DECAY_AFTER = 200  # steps, as released


@dataclass(frozen=True, kw_only=True)
class NGFAsReleased(FineTuningDefense):
    """The published code as it runs: SGD on all layers, the last one preconditioned."""

    title: ClassVar[str] = "NGF as released (public code)"
    tunes_norms: ClassVar[bool] = True
    needs_classifier: ClassVar[bool] = True
    layer: ClassVar[str] = "all"  # type: ignore[misc]  # the release has no choice
    batch_norm: ClassVar[str] = "train"  # type: ignore[misc]
    usual: ClassVar[float] = 0.3
    paper: ClassVar[Budget] = Budget(
        "github kr-anonymous/ngf-animus, 500 images: 500 steps of 128 at rate 0.01, "
        "momentum 0.9, damping 1e-3, weight decay 1e-4; these are the defaults.",
        {
            "lr": 0.01,
            "steps": 500,
            "batch_size": 128,
            "momentum": 0.9,
            "damping": 0.001,
            "weight_decay": 0.0001,
        },
    )
    lr: float = option(
        0.01,
        "Nominal learning rate; the released schedule divides it by 10, then by 100. "
        "0 chooses it by the rule of the other methods.",
        ge=0.0,
        le=100.0,
    )
    steps: int = options.steps(500)
    batch_size: int = options.batch_size()
    momentum: float = options.momentum()
    damping: float = option(1e-3, "Added to the eigenvalues.", ge=1e-8, le=10.0, expert=True)
    weight_decay: float = option(1e-4, "L2 penalty, from step 200 on.", ge=0.0, le=1.0, expert=True)
    augmentation: str = options.augmentation("weak")

    def __post_init__(self) -> None:
        check_fields(self)

    def rule(self, layers: Mapping[str, Tuned], last: str) -> Rule:
        return _ReleasedRule(self, last)


class _ReleasedRule(Rule):
    def __init__(self, settings: NGFAsReleased, last: str) -> None:
        self.settings, self.last = settings, last
        self.ekfac = ReleasedEKFAC(damping=settings.damping)

    def optimizer(self, parameters: list[Tensor], lr: float) -> Optimizer:
        return torch.optim.SGD(parameters, lr, momentum=self.settings.momentum)

    def direction(self, batch: Batch, lr: float, step: int) -> Direction:
        scheduled = lr * (0.1 if 5 * step < 2 * self.settings.steps else 0.01)
        outputs = batch.tap.outputs[self.last]
        errors = torch.autograd.grad(batch.loss, outputs, retain_graph=True)[0]
        with torch.no_grad():
            gradients = dict(batch.gradients)
            gradients[self.last] = self.ekfac.precondition(
                with_ones(batch.tap.inputs[self.last]),
                errors,
                gradients[self.last],
                step=step,
                lr=scheduled,
            )
            if step >= _WEIGHT_DECAY_AFTER and self.settings.weight_decay:
                now = self.tuning.weights()
                gradients = {
                    name: g + self.settings.weight_decay * now[name]
                    for name, g in gradients.items()
                }
        return Direction(gradients, lr=scheduled, damping=self.settings.damping)

    def state_dict(self) -> dict[str, Any]:
        return {"ekfac": self.ekfac.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.ekfac.load_state_dict(state["ekfac"])
