"""FE-tuning (Min et al. 2023, arXiv 2310.01875): draw the classifier anew, leave it so, and tune
what comes before it.

    W, b ~ U(-1 / sqrt(d), 1 / sqrt(d)), fixed;   then SGD with momentum on the other layers

A random classifier is no worse than another one for features that are free to move: so they have
to move, and what the attacker tied to the old directions is lost on the way. The paper uses it to
show that shifting features is what removes a backdoor; FST (`fst`) is its method.

The paper's budget is that of FT-init (`ft_init`). Changed: the rate, and the classifier keeps the
length that it was drawn with; the public code scales it to the length of the old one after the
first step. Features have a long way to go: on WaNet of seed 0 (one purification seed) rates of 0.05
and 0.1 cost 6.2 and 2.1 points of clean accuracy for being too small, 0.2 costs 0.7.
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
from ngf.models import Flow, Tuned
from ngf.options import SpecError, check_fields, option


@dataclass(frozen=True, kw_only=True)
class FETuning(FineTuningDefense):
    """Gives features a random classifier that they have to fit."""

    title: ClassVar[str] = "FE-tuning (new classifier, fixed)"
    tunes_norms: ClassVar[bool] = True
    needs_classifier: ClassVar[bool] = True
    layer: ClassVar[str] = "all"  # type: ignore[misc]  # but the classifier, see `tuned`
    usual: ClassVar[float] = 0.2
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
    lr: float = option(0.2, options.LR_HELP, ge=0.0, le=100.0)
    steps: int = options.steps()
    batch_size: int = options.batch_size()
    momentum: float = options.momentum()
    batch_norm: str = options.batch_norm()
    schedule: str = options.schedule()
    augmentation: str = options.augmentation()

    def __post_init__(self) -> None:
        check_fields(self)

    def tuned(self, found: Flow, layer: str) -> dict[str, Tuned]:
        layers = super().tuned(found, layer)
        del layers[found.last]
        if not layers:
            raise SpecError(
                "FE-tuning tunes what comes before the classifier; this model has no layer there "
                "that can be tuned. Choose another defense."
            )
        return layers

    def rule(self, layers: Mapping[str, Tuned], last: str) -> Rule:
        return RedrawnDescent(last, momentum=self.momentum, schedule=self.schedule)
