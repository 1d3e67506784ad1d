"""The gradient at equal KL: the control that tells the direction of NGF from the size of its steps.

    v <- momentum * v + grad CE
    theta <- theta - length * v,   length: the longest with KL(before || after) <= radius

Loop, images, layers, momentum, radius and its schedule are those of `ngf`; the gradient takes the
place of the natural gradient. What differs between the two is the direction alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ngf.defenses.fine_tuning import options
from ngf.defenses.fine_tuning.choosing import FineTuningDefense
from ngf.defenses.fine_tuning.loop import Batch, Rule
from ngf.defenses.fine_tuning.trust_region import (
    TrustRegionRule,
    largest_change,
    radius_schedule,
    trust_region,
)
from ngf.models import Tuned
from ngf.options import check_fields, option


@dataclass(frozen=True, kw_only=True)
class GradientKL(FineTuningDefense):
    """Plain gradient steps, as long as the same change of what the model predicts allows."""

    title: ClassVar[str] = "Gradient at equal KL"
    tunes_norms: ClassVar[bool] = False  # the layers of NGF
    strength: ClassVar[str] = "trust_region"
    needs_factors: ClassVar[bool] = True  # not to step, but to leave out what NGF leaves out
    usual: ClassVar[float] = 0.03
    layer: str = options.layer("fisher")
    trust_region: float = trust_region(0.01)
    radius_schedule: str = radius_schedule("cosine")
    lr: float = option(
        0.0,
        "Largest length of a step, in units of the gradient; 0 leaves it to the trust region.",
        ge=0.0,
        le=1e6,
        expert=True,
    )
    largest_change: float = largest_change(0.05)
    steps: int = options.steps()
    batch_size: int = options.batch_size()
    momentum: float = options.momentum()
    batch_norm: str = options.batch_norm()
    augmentation: str = options.augmentation()

    def __post_init__(self) -> None:
        check_fields(self)

    def rule(self, layers: Mapping[str, Tuned], last: str) -> Rule:
        return _GradientRule(self)


class _GradientRule(TrustRegionRule):
    """The gradients themselves."""

    def descend(self, batch: Batch, step: int) -> dict[str, Tensor]:
        return batch.gradients
