"""Super-fine-tuning (Sha et al. 2022, arXiv 2212.09067): large learning rates that forget, then
small ones that learn again.

The rate goes up and down in triangles, from a base to a peak and back; after a share of all steps
the peak is a small one. With t the steps since a triangle began, and `half` those of one side:

    lr = base + (peak - base) (1 - |t / half - 1|),   t = step mod 2 half

The idea is that of super-convergence (Smith, Topin 2019). In public code of the method (github
vtu81/backdoor-toolbox) the base is 0.03, the first peak 2.5 for 40 of 100 epochs and then 0.05, a
side has 10 steps, SGD no momentum; batches of 100, from 20 % of the training images.

Changed: base and second peak are shares of the first peak, those of that code, so that `lr` alone
says how strong a tuning is; fewer steps; a smaller peak, which costs a benign model (signs, seed 0,
one purification seed) 0.3 points of clean accuracy. That code sets the rate after its step, so that
each step has the rate of the one before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ngf.defenses.budget import Budget
from ngf.defenses.fine_tuning import options
from ngf.defenses.fine_tuning.choosing import FineTuningDefense
from ngf.defenses.fine_tuning.descent import Descent
from ngf.defenses.fine_tuning.loop import Batch, Direction, Rule
from ngf.models import Tuned
from ngf.options import check_fields, option


@dataclass(frozen=True, kw_only=True)
class SuperFT(FineTuningDefense):
    """Fine-tunes with rates that rise to a large peak again and again, and later to a small one."""

    title: ClassVar[str] = "Super-fine-tuning (triangular rate)"
    tunes_norms: ClassVar[bool] = True
    usual: ClassVar[float] = 0.5
    paper: ClassVar[Budget] = Budget(
        "github vtu81/backdoor-toolbox: 100 epochs of 10,000 images in batches of 100 "
        "are 10,000 steps, the first 0.4 of them with the first peak; base and second "
        "peak are 0.012 and 0.02 of the first.",
        {
            "lr": 2.5,
            "base": 0.012,
            "later_peak": 0.02,
            "first_phase": 0.4,
            "half": 10,
            "steps": 10000,
            "batch_size": 100,
            "momentum": 0.0,
        },
    )
    layer: str = options.layer("all")
    lr: float = option(0.5, f"First peak. {options.LR_HELP}", ge=0.0, le=100.0)
    base: float = option(
        0.012, "Rate between two triangles, as a share of the first peak.", ge=0.0, le=1.0
    )
    later_peak: float = option(0.02, "Second peak, as a share of the first.", ge=0.0, le=1.0)
    first_phase: float = option(
        0.4, "Share of the steps that have the first peak.", ge=0.0, le=1.0, expert=True
    )
    half: int = option(
        10, "Steps from the base to a peak, and from there back.", ge=1, le=100_000, expert=True
    )
    steps: int = options.steps()
    batch_size: int = options.batch_size()
    momentum: float = option(0.0, "Heavy-ball momentum.", ge=0.0, le=0.999, expert=True)
    batch_norm: str = options.batch_norm()
    augmentation: str = options.augmentation()

    def __post_init__(self) -> None:
        check_fields(self)

    def rule(self, layers: Mapping[str, Tuned], last: str) -> Rule:
        return _Triangles(self)


class _Triangles(Descent):
    def __init__(self, settings: SuperFT) -> None:
        super().__init__(momentum=settings.momentum)
        self.settings = settings

    def direction(self, batch: Batch, lr: float, step: int) -> Direction:
        s = self.settings
        peak = 1.0 if step < s.first_phase * self.tuning.steps else s.later_peak
        return Direction(batch.gradients, lr=lr * triangle(s.base, peak, step, s.half))


def triangle(base: float, peak: float, step: int, half: int) -> float:
    """The rate of step number `step`, 0 the first: from base to peak in `half` steps, and back."""
    return base + (peak - base) * (1 - abs(step % (2 * half) / half - 1))
