"""The loss on a plane through weight space.

Random planes: Li et al. 2018 (arXiv 1712.09913), two filter-normalized directions, orthogonalized after normalizing;
one plane says little, so several can be drawn, and the spread between them is part of the answer. The picture is
complete at once and gets exact: a quadratic model first, then coarse to fine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from analysis.frozen import exact_float32, frozen_copy, parameters_of
from analysis.measurement import RATE, Measurement
from analysis.partial import Partial
from analysis.planes import Plane, random_planes
from analysis.surface import Surface, derivatives, quadratic
from analysis.walker import Walker, one_thread
from ngf.config import option

PREVIEW_IMAGES = 64


@dataclass(frozen=True, kw_only=True)
class LossPlane(Measurement):
    """Loss and accuracy on planes through the weights.

    Values: plane, loss and rate_center (at the measured model), rate (which rate it is on these data), cosine and
    cosine_after (between the directions before and after they are made orthogonal; of several planes the largest),
    a_unit, b_unit, lambda_a, lambda_b (eigenvectors only, else None), num_planes, spread (mean over measured cells of
    the highest loss minus the lowest, over planes), num_not_finite (measured cells whose loss overflowed and shows
    the largest that did not). Arrays, from the first partial result on: a (A,) and b (B,), ascending; loss and rate
    (P, B, A), complete (cells not measured yet are a quadratic model, later interpolated); known (B, A), 1 where
    measured; points (K, 2) and point_names (K,), where models lie as (a, b).
    """

    title: ClassVar[str] = "Loss on a plane"

    plane: str = option("random", "What spans the plane: random filter-normalized directions.", choices=("random",))
    points: int = option(41, "Cells along each axis; an even number is raised by one, to hold the center.",
                         unit="points", ge=3, le=201)
    reach: float = option(0.5, "How far the axes reach: as a share of each filter's length.", ge=0.001, le=100.0)
    planes: int = option(1, "Random planes; their spread says how much the choice matters.", unit="planes", ge=1, le=20)

    def measure(self, model: nn.Module, images: Tensor, labels: Tensor, *, seed: int,
                reference: nn.Module | None = None, others: Sequence[nn.Module] = ()) -> Iterator[Partial]:
        """images: float (N, C, H, W) in [0, 1]; labels: int64 (N,)."""
        stamp = self.stamp(images, seed)
        frozen = frozen_copy(model, images, labels)
        names = parameters_of(frozen, self.layers)
        generator = torch.Generator().manual_seed(seed)
        planes = random_planes(frozen, generator, names, self.planes)
        walker = Walker(frozen, images, labels, planes[0].moving)
        center = walker.read(planes[0].states, [planes[0].center])[0]
        if not np.isfinite(center.loss):
            raise ValueError("The loss at the weights is not finite, so there is no surface around them.")
        half = self.points // 2
        axis = self.reach / half * np.arange(-half, half + 1)
        surface = Surface(*self._preview(frozen, images, labels, planes, center, axis, axis))
        values = {"plane": self.plane, "loss": center.loss, "rate": RATE[self.data], "rate_center": center.rate,
                  "cosine": max((p.cosine for p in planes), key=abs),
                  "cosine_after": max((p.cosine_after for p in planes), key=abs),
                  "a_unit": planes[0].unit, "b_unit": planes[0].unit, "lambda_a": None, "lambda_b": None,
                  "num_planes": len(planes)}
        fixed = {"a": axis, "b": axis, "points": planes[0].points, "point_names": np.array(planes[0].names)}

        def partial() -> Partial:
            share = (1 + surface.known.sum()) / (1 + surface.known.size)
            return Partial(values={**values, "spread": surface.spread(), "num_not_finite": surface.num_not_finite,
                                   **stamp()},
                           arrays={**fixed, **surface.arrays()}, fraction=float(share), done=bool(surface.known.all()))

        yield partial()
        for row, columns in surface.rows():
            readings = [[walker.read(p.states, [p.place(axis[k], axis[row]) for k in columns])] for p in planes]
            table = np.array(readings)[:, 0]  # (planes, columns, loss stderr rate)
            surface.record(row, columns, table[..., 0], table[..., 2])
            yield partial()

    def _preview(self, frozen: nn.Module, images: Tensor, labels: Tensor, planes: Sequence[Plane], center,
                 a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The quadratic model of each plane, from its derivatives on the first images, and the rate of the center."""
        few = images[:PREVIEW_IMAGES], labels[:PREVIEW_IMAGES]
        out = []
        with exact_float32(), one_thread():
            for plane in planes:
                slope, curvature = derivatives(frozen, *few, plane.states[1:], names=plane.moving)
                out.append(quadratic(center.loss, slope, curvature, a, b, num_classes=int(labels.max()) + 1))
        return np.array(out), np.full((len(planes), len(b), len(a)), center.rate)
