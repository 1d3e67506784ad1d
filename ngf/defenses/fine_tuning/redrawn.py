"""A classifier that is drawn anew: what FT-init, FE-tuning and FST begin with (Min et al. 2023,
arXiv 2310.01875).

    W, b ~ U(-1 / sqrt(d), 1 / sqrt(d)),   d: the features that enter it

That is how torch draws a linear layer. It happens at the beginning of the first step, for step 0
shows the model as it came: all curves fall to chance at step 1, and rise as the new classifier is
learned. A rate that is too small for that harms as much as one that is too large.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import nn

from ngf.defenses.fine_tuning.descent import Descent
from ngf.defenses.fine_tuning.loop import FineTuning, parameters


class RedrawnDescent(Descent):
    """Gradient descent from a new classifier, whether that is tuned or not.

    last: its name.
    """

    def __init__(self, last: str, *, momentum: float, schedule: str) -> None:
        super().__init__(momentum=momentum, schedule=schedule)
        self.last = last

    def begin(self, tuning: FineTuning) -> None:
        super().begin(tuning)
        self.classifier = cast(nn.Linear, tuning.model.get_submodule(self.last))

    def set_out(self) -> None:
        redraw(self.classifier, torch.Generator().manual_seed(self.tuning.seed))


@torch.no_grad()
def redraw(layer: nn.Linear, rng: torch.Generator) -> None:
    """Draw weight and bias anew, in place. rng: on the CPU."""
    bound = 1 / math.sqrt(layer.in_features)
    for parameter in parameters(layer):
        uniform = torch.rand(parameter.shape, generator=rng, dtype=parameter.dtype)
        parameter.copy_(bound * (2 * uniform - 1))
