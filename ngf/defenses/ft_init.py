"""FT-init (Min et al. 2023, arXiv 2310.01875): draw the classifier anew, then tune all layers.

    W, b ~ U(-1 / sqrt(d), 1 / sqrt(d));   then SGD with momentum on the cross-entropy

The paper compares three ways of tuning with plain fine-tuning. This is one; FE-tuning
(`fe_tuning`) leaves the new classifier as it was drawn; linear probing (LP) tunes the old
classifier alone, which is `sgd` with `layer` = last.

The paper's budget is 10 epochs of 2 % of CIFAR-10, 80 steps of 128, at rate 0.01, momentum 0.9,
cosine. Changed: the rate, by the clean accuracy of a benign model (signs, seed 0, one purification
seed), of which 0.05 costs 0.2 points and 0.1 costs 1.2; and the classifier keeps the length that it
gets. In the public code (github AISafety-HKUST/stable_backdoor_purification) the line that scales
it to the length of the old one after every step, which belongs to FST, runs in every mode, plain
fine-tuning and LP included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ngf.defenses.budget import Budget
from ngf.defenses.fine_tuning import options
from ngf.defenses.fine_tuning.choosing import FineTuningDefense
from ngf.defenses.fine_tuning.loop import Rule
from ngf.defenses.fine_tuning.redrawn import RedrawnDescent
from ngf.models import Tuned
from ngf.options import check_fields, option


@dataclass(frozen=True, kw_only=True)
class FTInit(FineTuningDefense):
    """Forgets the classifier, and learns a new one while all layers are tuned."""

    title: ClassVar[str] = "FT-init (new classifier)"
    tunes_norms: ClassVar[bool] = True
    needs_classifier: ClassVar[bool] = True
    layer: ClassVar[str] = "all"  # type: ignore[misc]  # a classifier that stays new is FE-tuning's
    usual: ClassVar[float] = 0.05
    paper: ClassVar[Budget] = Budget(
        "github AISafety-HKUST/stable_backdoor_purification, 1,000 images: 10 epochs "
        "are 80 steps of 128, at rate 0.01, momentum 0.9, cosine.",
        {
            "lr": 0.01,
            "steps": 80,
            "batch_size": 128,
            "momentum": 0.9,
            "schedule": "cosine",
        },
    )
    lr: float = option(0.05, options.LR_HELP, ge=0.0, le=100.0)
    steps: int = options.steps()
    batch_size: int = options.batch_size()
    momentum: float = options.momentum()
    batch_norm: str = options.batch_norm()
    schedule: str = options.schedule()
    augmentation: str = options.augmentation()

    def __post_init__(self) -> None:
        check_fields(self)

    def rule(self, layers: Mapping[str, Tuned], last: str) -> Rule:
        return RedrawnDescent(last, momentum=self.momentum, schedule=self.schedule)
