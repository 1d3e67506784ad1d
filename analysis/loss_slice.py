"""Slices of the loss along random directions that are scaled to the filters they move.

Li et al. 2018 (arXiv 1712.09913): each filter of a Gaussian direction gets the length of the filter of the
weights, biases and BatchNorm stay, so that networks of different scale can be compared. One direction says
little, so several are drawn and their spread is shown. Nothing is smoothed or clipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from analysis.directions import filter_normalized
from analysis.frozen import evaluate, frozen_copy
from analysis.measurement import RATE, Measurement
from analysis.partial import Partial
from ngf.config import option


@dataclass(frozen=True, kw_only=True)
class LossSlice(Measurement):
    """Loss and accuracy while walking away from the weights in random, filter-normalized directions.

    A distance of 1 moves each filter by its own length. Values: loss (at the weights), loss_stderr (over
    images), ca, rate (which rate `ca` is on these data: ca, ra or asr). Arrays: distance (M,) ascending,
    loss (K, M), ca (K, M), and mean, low, high (M,): mean and range of the loss over directions. Points
    come coarse to fine, so M grows.
    """

    title: ClassVar[str] = "Slice of the loss"

    directions: int = option(3, "Random directions; the band is their spread.", unit="directions",
                             ge=1, le=50)
    points: int = option(21, "Distances on each slice; an even number is raised by one, to hold the center.",
                         unit="points", ge=3, le=401)
    reach: float = option(0.5, "Largest distance on either side, as a share of each filter's length.",
                          ge=0.001, le=10.0)

    def measure(self, model: nn.Module, images: Tensor, labels: Tensor, *, seed: int,
                reference: nn.Module | None = None) -> Iterator[Partial]:
        """images: float (N, C, H, W) in [0, 1]; labels: int64 (N,). `reference` is not used."""
        stamp = self.stamp(images, seed)
        generator = torch.Generator().manual_seed(seed)
        frozen = frozen_copy(model, images, labels)
        start = {name: p.clone() for name, p in frozen.named_parameters()}
        directions = [filter_normalized(frozen, generator) for _ in range(self.directions)]
        half = self.points // 2
        center = evaluate(frozen, images, labels)
        seen: dict[int, list[tuple[float, float, float]]] = {0: [center] * self.directions}
        for done, index in enumerate(_coarse_to_fine(half), start=1):
            distance = self.reach * index / half
            seen[index] = []
            for direction in directions:
                move(frozen, start, direction, distance)
                seen[index].append(evaluate(frozen, images, labels))
            table = np.array([seen[i] for i in sorted(seen)]).T  # (loss, error, rate) x K x M, one axis each
            loss, ca = table[0], table[2]
            values = {"loss": center[0], "loss_stderr": center[1] if len(images) > 1 else None,
                      "ca": center[2], "rate": RATE[self.data], "num_directions": self.directions, **stamp()}
            arrays = {"distance": self.reach / half * np.array(sorted(seen), dtype=float),
                      "loss": loss, "ca": ca,
                      "mean": loss.mean(0), "low": loss.min(0), "high": loss.max(0)}
            yield Partial(values=values, arrays=arrays, fraction=done / (2 * half), done=done == 2 * half)


@torch.no_grad()
def move(model: nn.Module, start: dict[str, Tensor], direction: dict[str, Tensor], distance: float) -> None:
    """Set the weights to start + distance * direction, computed afresh so that rounding never adds up."""
    for name, parameter in model.named_parameters():
        parameter.copy_(start[name] + distance * direction[name])


def _coarse_to_fine(half: int) -> list[int]:
    """-half ... half without 0, both ends first, then the halves between the points so far."""
    order: list[int] = []
    step = 1 << (half - 1).bit_length() if half > 1 else 1
    while step:
        level = sorted({min(k, half) for k in range(step, half + step, step)})
        order += [sign * k for k in level for sign in (-1, 1) if sign * k not in order]
        step //= 2
    return order
