"""Slices of the loss along directions through the weights.

Random ones after Li et al. 2018 (arXiv 1712.09913): each filter of a Gaussian direction gets the
length of the filter of the weights, biases and BatchNorm stay, so that networks of different scale
can be compared. One direction says little, so several are drawn and their spread is shown. Or along
the steepest eigenvectors of the Hessian, or of the filter-scaled Hessian (see
`analysis.landscape.eigenvectors`). Nothing is smoothed or clipped; a loss that overflows shows the
largest that does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from analysis.distances import distance_option, unit
from analysis.landscape.coarse_to_fine import order
from analysis.landscape.directions import Direction, State, filter_normalized, moving
from analysis.landscape.eigenvectors import top_eigenvectors
from analysis.landscape.loss_at import LossAt
from analysis.landscape.progressive_surface import finite
from analysis.measurements.base import Measurement, Needs
from analysis.model_under_test import frozen_copy, parameters_of
from analysis.result import Partial, Value
from ngf.options import option


@dataclass(frozen=True, kw_only=True)
class LossSlice(Measurement):
    """Loss and accuracy while walking away from the weights, in random directions or along
    eigenvectors.

    In a random direction, a distance of 1 moves each filter by its own length. Along an eigenvector
    it is a predicted rise by 1 nat (by d^2 nats at a distance of d), or a length: in the weights,
    or for the filter-scaled Hessian relative to the filters.

    Values:
        loss, loss_stderr: at the weights, in nats; the error is over images.
        ca: share of right answers there.
        rate: what `ca` is called on these images.
        direction: random, eigenvectors or filter_eigenvectors.
        unit: of the distance.
        num_directions: K.
        num_not_finite: points whose loss overflows; they show the largest that does not.

    Arrays, where M grows, because points come coarse to fine:
        distance: (M,), ascending.
        loss, ca: (K, M).
        mean, low, high: (M,), mean and range of the loss over directions.
        eigenvalues, residuals: (K,), descending, for eigenvectors only.
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
        "Largest distance on either side, as a share of each filter's length; for eigenvectors "
        "see distance.",
        ge=0.001,
        le=100.0,
    )
    direction: str = option(
        "random",
        "Random filter-normalized directions, the steepest eigenvectors of the Hessian, or those "
        "of the filter-scaled Hessian.",
        choices=("random", "eigenvectors", "filter_eigenvectors"),
    )
    distance: str = distance_option()

    def needs(self) -> Needs:
        return Needs(brief=True)

    def measure(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        seed: int,
    ) -> Iterator[Partial]:
        """As `Measurement.measure` says; yields after each distance, on either side of the weights.

        Raises ValueError where the loss at the weights is not finite, and where nothing can move.
        """
        stamp = self.stamp(images, seed)
        frozen = frozen_copy(model, images, labels)
        directions, about = self._directions(frozen, images, labels, seed)
        keep = moving(*directions)
        weights: State = dict(frozen.named_parameters())
        states = [{name: state[name] for name in keep} for state in (weights, *directions)]
        loss_at = LossAt(frozen, images, labels, keep)
        (center,) = loss_at(states, [(1.0, *[0.0] * self.directions)])
        if not np.isfinite(center.loss):
            raise ValueError(
                "The loss at the weights is not finite, so there is no slice through them."
            )
        half = self.points // 2
        seen = {0: [center] * self.directions}
        # From the center outward: both ends first, then what halves the gaps.
        outward = [k for k in order(half + 1, 1 << half.bit_length()) if k]
        for done, index in enumerate((sign * k for k in outward for sign in (-1, 1)), start=1):
            distance = self.reach * index / half
            seen[index] = loss_at(
                states, [(1.0, *row) for row in distance * np.eye(self.directions)]
            )
            table = np.array([seen[i] for i in sorted(seen)]).T  # (3, K, M): loss, error, rate
            loss, ca = finite(table[0]), table[2]
            values: dict[str, Value] = {
                "loss": center.loss,
                "loss_stderr": center.stderr if len(images) > 1 else None,
                "ca": center.rate,
                "rate": self.rate,
                "direction": self.direction,
                "unit": "length of each filter"
                if self.direction == "random"
                else unit(self._filters, self.distance),
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

    @property
    def _filters(self) -> bool:
        return self.direction == "filter_eigenvectors"

    def _directions(
        self, frozen: nn.Module, images: Tensor, labels: Tensor, seed: int
    ) -> tuple[list[Direction], dict[str, np.ndarray]]:
        """The directions, and the arrays that tell about them."""
        names, generator = parameters_of(frozen, self.layers), torch.Generator().manual_seed(seed)
        if self.direction == "random":
            return [filter_normalized(frozen, generator, names) for _ in range(self.directions)], {}
        *_, (found, _) = top_eigenvectors(
            frozen,
            images,
            labels,
            names,
            self.directions,
            generator,
            filters=self._filters,
            distance=self.distance,
        )
        return [e.direction for e in found], {
            "eigenvalues": np.array([e.value for e in found]),
            "residuals": np.array([e.error for e in found]),
        }
