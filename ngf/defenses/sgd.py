"""Fine-tuning with SGD and momentum, of one layer or of all: the baseline that NGF is
measured against.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ngf.defenses.budget import Budget
from ngf.defenses.fine_tuning import options
from ngf.defenses.fine_tuning.choosing import FineTuningDefense
from ngf.defenses.fine_tuning.descent import Descent
from ngf.defenses.fine_tuning.loop import Rule
from ngf.models import Tuned
from ngf.options import check_fields, option


@dataclass(frozen=True, kw_only=True)
class SGD(FineTuningDefense):
    """Plain fine-tuning with stochastic gradient descent."""

    title: ClassVar[str] = "SGD fine-tuning"
    tunes_norms: ClassVar[bool] = True
    usual: ClassVar[float] = 0.2
    # option -> what its default was in specifications of an earlier revision (see `ngf.config`)
    former: ClassVar[Mapping[str, Any]] = {
        "schedule": "constant",
        "augmentation": "weak",
    }
    paper: ClassVar[Budget] = Budget(
        "github SCLBD/BackdoorBench, config ft: 100 epochs of 2,500 images in batches "
        "of 256, that is 1,000 steps, at rate 0.01, momentum 0.9, weight decay 5e-4, "
        "cosine.",
        {
            "steps": 1000,
            "batch_size": 256,
            "lr": 0.01,
            "momentum": 0.9,
            "weight_decay": 0.0005,
            "schedule": "cosine",
        },
    )
    layer: str = options.layer("all")
    lr: float = option(0.05, options.LR_HELP, ge=0.0, le=100.0)
    steps: int = options.steps()
    batch_size: int = options.batch_size()
    momentum: float = options.momentum()
    weight_decay: float = option(
        0.0, "L2 penalty on the tuned weights.", ge=0.0, le=1.0, expert=True
    )
    batch_norm: str = options.batch_norm()
    schedule: str = options.schedule()
    augmentation: str = options.augmentation()

    def __post_init__(self) -> None:
        check_fields(self)

    def rule(self, layers: Mapping[str, Tuned], last: str) -> Rule:
        return Descent(
            momentum=self.momentum, weight_decay=self.weight_decay, schedule=self.schedule
        )
