"""How far a class stands out from the others, by what it costs to send images there.

The anomaly index of Wang et al. 2019 (Neural Cleanse): the distance below the median over classes,
in units of 1.4826 median distances. It needs no other model to compare with.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ngf.defenses.unlearning.reversal import anomaly

LIMIT = 2.0  # above it a class is an outlier, as published
_LARGEST = 20.0  # beyond it an index tells only that the other classes are alike


def index_of(costs: Tensor) -> Tensor:
    """The index of each class (K,) from its cost (K,): high where it is low. At most 20."""
    return anomaly(costs).clamp(-_LARGEST, _LARGEST)


def cost_of_rates(hits: Tensor, counts: Tensor) -> Tensor:
    """Costs (K,) for success rates: -log((hits + 1/2) / (misses + 1/2)), finite for every rate."""
    return -torch.log((hits + 0.5) / (counts - hits + 0.5))


def most_suspicious(*indices: Tensor) -> int:
    """The class with the highest mean index, each (K,) counted from 0 up to 5."""
    return int(torch.stack([index.clamp(0, 5) for index in indices]).mean(0).argmax())
