"""Fine-tuning with Adam (Kingma & Ba 2015, arXiv 1412.6980), of one layer or of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from ngf.defenses.fine_tuning import options
from ngf.defenses.fine_tuning.choosing import FineTuningDefense
from ngf.defenses.fine_tuning.descent import Descent
from ngf.defenses.fine_tuning.loop import Rule
from ngf.models import Tuned
from ngf.options import check_fields, option


@dataclass(frozen=True, kw_only=True)
class Adam(FineTuningDefense):
    """Fine-tuning with Adam, which scales each weight's step by the size of its own gradients."""

    title: ClassVar[str] = "Adam fine-tuning"
    tunes_norms: ClassVar[bool] = True
    usual: ClassVar[float] = 0.003
    # option -> what its default was in specifications of an earlier revision (see `ngf.config`)
    former: ClassVar[Mapping[str, Any]] = {
        "lr": 0.001,
        "schedule": "constant",
        "augmentation": "weak",
    }
    layer: str = options.layer("all")
    lr: float = option(0.003, options.LR_HELP, ge=0.0, le=10.0)
    steps: int = options.steps()
    batch_size: int = options.batch_size()
    beta1: float = option(
        0.9, "Decay of the mean of the gradients.", ge=0.0, le=0.9999, expert=True
    )
    beta2: float = option(
        0.999, "Decay of the mean of their squares.", ge=0.0, le=0.99999, expert=True
    )
    epsilon: float = option(1e-8, "Keeps the division from failing.", ge=1e-12, le=1.0, expert=True)
    batch_norm: str = options.batch_norm()
    schedule: str = options.schedule()
    augmentation: str = options.augmentation()

    def __post_init__(self) -> None:
        check_fields(self)

    def rule(self, layers: Mapping[str, Tuned], last: str) -> Rule:
        return _Adaptive(self)


class _Adaptive(Descent):
    """The gradients themselves, for torch's Adam."""

    def __init__(self, settings: Adam) -> None:
        super().__init__(momentum=0.0, schedule=settings.schedule)
        self.settings = settings

    def optimizer(self, parameters: list[Tensor], lr: float) -> Optimizer:
        s = self.settings
        return torch.optim.Adam(parameters, lr, betas=(s.beta1, s.beta2), eps=s.epsilon)
