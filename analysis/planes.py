"""What spans a plane in weight space, and where models lie in it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from analysis.directions import Direction, cosine, filter_normalized, moving, orthogonal_to


@dataclass(frozen=True, kw_only=True)
class Plane:
    """The states (origin, direction a, direction b), restricted to what moves.

    unit: what a = 1 means; cosine, cosine_after: between the directions before and after they were made orthogonal;
    points (K, 2), names: where models lie as (a, b).
    """

    states: tuple[Direction, Direction, Direction]
    unit: str
    cosine: float
    points: np.ndarray = field(default_factory=lambda: np.zeros((1, 2)))
    names: tuple[str, ...] = ("center",)

    @property
    def moving(self) -> list[str]:
        return list(self.states[0])

    @property
    def center(self) -> tuple[float, float, float]:
        return self.place(0.0, 0.0)

    @property
    def cosine_after(self) -> float:
        return cosine(*self.states[1:])

    def place(self, a: float, b: float) -> tuple[float, float, float]:
        """Coefficients of the states at (a, b)."""
        return 1.0, float(a), float(b)


def random_planes(model: nn.Module, generator: torch.Generator, names: Collection[str], count: int) -> list[Plane]:
    """Planes through the weights along filter-normalized directions of the parameters `names`."""
    start = {name: p.detach() for name, p in model.named_parameters()}
    planes = []
    for _ in range(count):
        first = filter_normalized(model, generator, names)
        drawn = filter_normalized(model, generator, names)
        second = orthogonal_to(first, drawn)
        keep = moving(first, drawn)
        planes.append(Plane(states=tuple({name: d[name] for name in keep} for d in (start, first, second)),
                            unit="length of each filter", cosine=cosine(first, drawn)))
    return planes
