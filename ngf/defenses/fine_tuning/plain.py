"""A plainly fine-tuned copy of the model: teacher of one method, far end of another's curve."""

from __future__ import annotations

import copy

from ngf.defenses.contract import Problem
from ngf.defenses.fine_tuning.descent import Descent
from ngf.defenses.fine_tuning.loop import FineTuning, few, scope
from ngf.models import flow


def tuned_copy(
    problem: Problem,
    *,
    lr: float,
    steps: int,
    batch_size: int,
    momentum: float,
    augmentation: str,
    batch_norm: str = "train",
    schedule: str = "cosine",
) -> FineTuning:
    """SGD over all layers of a copy of the problem's model, step by step: what the defense `sgd`
    does with these options. Raises SpecError where no layer can be tuned.
    """
    model = copy.deepcopy(problem.model)
    found = flow(model, few(problem.clean))
    return FineTuning(
        model,
        problem,
        Descent(momentum=momentum, schedule=schedule),
        scope(found, "all", norms=True),
        lr=lr,
        steps=steps,
        batch_size=batch_size,
        batch_norm=batch_norm,
        last=found.last,
        augmentation=augmentation,
    )
