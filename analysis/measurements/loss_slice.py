"""Slices of the loss along directions through the weights.

Random ones after Li et al. 2018 (arXiv 1712.09913): each filter of a Gaussian direction gets the
length of the filter of the weights, biases and BatchNorm stay, so that networks of different scale
can be compared. One direction says little, so several are drawn and their spread is shown. Or along
the steepest eigenvectors of the Hessian, in units of the loss. Nothing is smoothed or clipped; a
loss that overflows shows the largest that does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from analysis.landscape.directions import Direction, filter_normalized, moving
from analysis.landscape.eigenvectors import UNIT, top_eigenvectors
from analysis.landscape.loss_at import Walker
from analysis.landscape.progressive_surface import finite
from analysis.measurements.base import Measurement
from analysis.model_under_test import frozen_copy, parameters_of
from analysis.result import Partial, Value
from ngf.options import option


@dataclass(frozen=True, kw_only=True)
class LossSlice(Measurement):
    """Loss and accuracy while walking away from the weights, in random directions or along
    eigenvectors.

    A distance of 1 moves each filter by its own length, or, along an eigenvector, as far as the
    quadratic model rises by 1 nat (d nats squared at d). Values: loss (at the weights), loss_stderr
    (over images), ca, rate (which rate `ca` is on these data: ca, ra or asr), direction, unit (of
    the distance), num_directions, num_not_finite. Arrays: distance (M,) ascending, loss (K, M), ca
    (K, M), and mean, low, high (M,): mean and range of the loss over directions; for eigenvectors
    also eigenvalues and residuals (K,), descending. Points come coarse to fine, so M grows.
    """

    title: ClassVar[str] = "Slice of the loss"

    directions: int = option(
        3, "Directions; the band is their spread.", unit="directions", ge=1, le=50
    )
    points: int = option(
        21,
        "Distances on each slice; an even number is raised by one, to hold the center.",
        unit="points",
        ge=3,
        le=401,
    )
    reach: float = option(
        0.5,
        "Largest distance on either side, as a share of each filter's length; for eigenvectors, "
        "1 is where a rise by 1 nat is predicted.",
        ge=0.001,
        le=100.0,
    )
    direction: str = option(
        "random",
        "Random filter-normalized directions, or the steepest eigenvectors of the Hessian.",
        choices=("random", "eigenvectors"),
    )

    def measure(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        seed: int,
    ) -> Iterator[Partial]:
        """images: float (N, C, H, W) in [0, 1]; labels: int64 (N,)."""
        stamp = self.stamp(images, seed)
        frozen = frozen_copy(model, images, labels)
        directions, about = self._directions(frozen, images, labels, seed)
        keep = moving(*directions)
        weights = dict(frozen.named_parameters())
        states = [{name: state[name] for name in keep} for state in (weights, *directions)]
        walker = Walker(frozen, images, labels, keep)
        center = walker.read(states, [(1.0, *[0.0] * self.directions)])[0]
        if not np.isfinite(center.loss):
            raise ValueError(
                "The loss at the weights is not finite, so there is no slice through them."
            )
        half = self.points // 2
        seen = {0: [center] * self.directions}
        for done, index in enumerate(_coarse_to_fine(half), start=1):
            distance = self.reach * index / half
            seen[index] = walker.read(
                states, [(1.0, *row) for row in distance * np.eye(self.directions)]
            )
            table = np.array(
                [seen[i] for i in sorted(seen)]
            ).T  # (loss, error, rate) x K x M, one axis each
            loss, ca = finite(table[0]), table[2]
            values: dict[str, Value] = {
                "loss": center.loss,
                "loss_stderr": center.stderr if len(images) > 1 else None,
                "ca": center.rate,
                "rate": self.rate,
                "direction": self.direction,
                "unit": UNIT if self.direction == "eigenvectors" else "length of each filter",
                "num_directions": self.directions,
                "num_not_finite": int((~np.isfinite(table[0])).sum()),
                **stamp(),
            }
            arrays = {
                "distance": self.reach / half * np.array(sorted(seen), dtype=float),
                "loss": loss,
                "ca": ca,
                "mean": loss.mean(0),
                "low": loss.min(0),
                "high": loss.max(0),
                **about,
            }
            yield Partial(
                values=values, arrays=arrays, fraction=done / (2 * half), done=done == 2 * half
            )

    def _directions(
        self, frozen: nn.Module, images: Tensor, labels: Tensor, seed: int
    ) -> tuple[list[Direction], dict[str, np.ndarray]]:
        names, generator = parameters_of(frozen, self.layers), torch.Generator().manual_seed(seed)
        if self.direction == "random":
            return [filter_normalized(frozen, generator, names) for _ in range(self.directions)], {}
        *_, (found, _) = top_eigenvectors(frozen, images, labels, names, self.directions, generator)
        return [e.direction for e in found], {
            "eigenvalues": np.array([e.value for e in found]),
            "residuals": np.array([e.error for e in found]),
        }


@torch.no_grad()
def move(
    model: nn.Module, start: dict[str, Tensor], direction: dict[str, Tensor], distance: float
) -> None:
    """Set the weights to start + distance * direction, computed afresh so that rounding never
    adds up.
    """
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
