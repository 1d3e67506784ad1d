"""The loss on a plane through weight space.

Random planes: Li et al. 2018 (arXiv 1712.09913), two filter-normalized directions, orthogonalized
after normalizing; one plane says little, so several can be drawn, and the spread between them is
part of the answer. Eigenvector planes: the two largest Ritz vectors of the Hessian, with axes in
units of the loss. Model planes: Garipov et al. 2018 (arXiv 1802.10026), through the backdoored and
two purified models. The picture is complete at once and gets exact: a quadratic model first, then
coarse to fine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from analysis.landscape.directions import dot
from analysis.landscape.eigenvectors import UNIT, gradient, top_eigenvectors
from analysis.landscape.interpolation import BETWEEN, BETWEEN_HELP
from analysis.landscape.loss_at import Walker, one_thread
from analysis.landscape.planes import (
    Plane,
    eigenvector_plane,
    on_plane,
    place,
    random_planes,
    through_models,
)
from analysis.landscape.progressive_surface import Surface, derivatives, quadratic
from analysis.measurements.base import Measurement, Needs
from analysis.model_under_test import evaluate, exact_float32, frozen_copy, parameters_of
from analysis.result import Partial
from ngf.checkpoints.waypoints import Waypoint
from ngf.options import option

PREVIEW_IMAGES = 64


@dataclass(frozen=True, kw_only=True)
class LossPlane(Measurement):
    """Loss and accuracy on planes through the weights.

    Values: plane, loss and rate_center (at the measured model), rate (which it is), cosine and
    cosine_after (between the directions before and after they are made orthogonal; the largest),
    a_unit, b_unit, lambda_a, lambda_b (eigenvalues along the axes, else None), lambda_a_error,
    lambda_b_error, num_hvps, num_planes, spread (mean over measured cells of the highest loss minus
    the lowest, over planes), num_not_finite (cells whose loss overflowed: they show the largest
    that did not), batch_norm_between. Arrays, from the first partial result on: a (A,), b (B,)
    ascending; loss, rate (P, B, A), complete (cells not measured yet are a quadratic model, later
    interpolated); known (B, A), 1 where measured; points (K, 2), point_names (K,), where models
    lie; on a plane through models path (S, 2), path_names (S,), the weights that the purification
    kept on its way, and path_share, how much of that way's length lies in the plane.
    """

    title: ClassVar[str] = "Loss on a plane"

    plane: str = option(
        "random",
        "What spans the plane: random filter-normalized directions, the two steepest "
        "eigenvectors, or three models.",
        choices=("random", "eigenvectors", "models"),
    )
    points: int = option(
        41,
        "Cells along each axis; an even number is raised by one, to hold the center.",
        unit="points",
        ge=3,
        le=201,
    )
    reach: float = option(
        0.5,
        "How far the axes reach: as a share of each filter's length; for eigenvectors, 1 is "
        "where a rise by 1 nat is predicted; for models, how far beyond them, as a share of their "
        "extent.",
        ge=0.001,
        le=100.0,
    )
    planes: int = option(
        1,
        "Random planes; their spread says how much the choice matters.",
        unit="planes",
        ge=1,
        le=20,
    )
    third: str = option(
        "",
        "For a plane through models: the run of the third model, as run or run:lane. If the "
        "measured model has no parent: two runs, separated by a comma, the backdoored one first.",
    )
    batch_norm_between: str = option("interpolated", BETWEEN_HELP, choices=BETWEEN, expert=True)

    def needs(self) -> Needs:
        if self.plane != "models":
            return Needs()
        return Needs(models="pair", reference=True, others="third", path="kept")

    def others(self) -> tuple[str, ...]:
        """The further models of a plane through models."""
        return (
            tuple(run.strip() for run in self.third.split(",") if run.strip())
            if self.plane == "models"
            else ()
        )

    def measure(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        seed: int,
        reference: nn.Module | None = None,
        others: Sequence[nn.Module] = (),
        path: Iterable[Waypoint] = (),
    ) -> Iterator[Partial]:
        """images: float (N, C, H, W) in [0, 1]; labels: int64 (N,); others: the models of `others`,
        in that order.

        path: weights on the way to the measured model. Raises ValueError if there is nothing that
        spans a plane.
        """
        stamp = self.stamp(images, seed)
        frozen = frozen_copy(model, images, labels)
        if self.planes > 1 and self.plane != "random":
            raise ValueError(
                f"There is one plane of {self.plane}. Several planes need plane = random."
            )
        with one_thread():
            loss, _, rate = evaluate(frozen, images, labels)
        if not np.isfinite(loss):
            raise ValueError(
                "The loss at the weights is not finite, so there is no surface around them."
            )

        way, path_share = {}, None

        def partial(hvps: int) -> Partial:
            first, share = planes[0], (1 + surface.known.sum()) / (1 + surface.known.size)
            values = {
                "plane": self.plane,
                "loss": loss,
                "rate": self.rate,
                "rate_center": rate,
                "cosine": max((p.cosine for p in planes), key=abs),
                "cosine_after": max((p.cosine_after for p in planes), key=abs),
                "a_unit": first.unit,
                "b_unit": first.unit,
                "lambda_a": first.curvatures[0],
                "lambda_b": first.curvatures[1],
                "num_planes": len(planes),
                "spread": surface.spread(),
                "num_not_finite": surface.num_not_finite,
                **stamp(),
            }
            if self.plane == "models":
                values |= {
                    "batch_norm_between": self.batch_norm_between,
                    "path_share": path_share,
                    "third": self.third,
                }
            if self.plane == "eigenvectors":
                values |= {
                    "lambda_a_error": first.errors[0],
                    "lambda_b_error": first.errors[1],
                    "num_hvps": hvps,
                }
            arrays = {
                "a": a,
                "b": b,
                "points": first.points,
                "point_names": np.array(first.names),
                **way,
                **surface.arrays(),
            }
            return Partial(
                values=values, arrays=arrays, fraction=float(share), done=bool(surface.known.all())
            )

        for planes, slopes, curvatures, hvps in self._spanned(
            frozen, images, labels, seed, reference, others
        ):
            a, b = planes[0].axes(self.points, self.reach)
            if path and self.plane == "models":
                way, path_share = on_plane(planes[0], path, dict(frozen.named_parameters()))
            preview = [
                quadratic(
                    loss,
                    slope,
                    curvature,
                    a - p.center[0],
                    b - p.center[1],
                    num_classes=int(labels.max()) + 1,
                )
                for p, slope, curvature in zip(planes, slopes, curvatures, strict=True)
            ]
            surface = Surface(np.array(preview), np.full((len(planes), len(b), len(a)), rate))
            yield partial(hvps)
        walker = Walker(
            frozen,
            images,
            labels,
            planes[0].moving,
            floors=planes[0].floors,
            between=self.batch_norm_between if self.plane == "models" else "interpolated",
        )
        for row, columns in surface.rows():
            places = [place(a[k], b[row]) for k in columns]
            table = np.array(
                [walker.read(p.states, places) for p in planes]
            )  # (planes, columns, loss stderr rate)
            surface.record(row, columns, table[..., 0], table[..., 2])
            yield partial(hvps)

    def _spanned(
        self,
        frozen: nn.Module,
        images: Tensor,
        labels: Tensor,
        seed: int,
        reference: nn.Module | None,
        others: Sequence[nn.Module],
    ) -> Iterator[tuple[list[Plane], list[np.ndarray], list[np.ndarray], int]]:
        """Planes with the slopes (2,) and curvatures (2, 2) at the measured model, and products so
        far; the last holds.

        The first comes at once.
        """
        names = parameters_of(frozen, self.layers)
        generator = torch.Generator().manual_seed(seed)
        if self.plane == "eigenvectors":
            flat, rise = (
                np.zeros(2),
                2 * np.eye(2),
            )  # by the unit of the axes, whatever the eigenvectors are
            yield [Plane(unit=UNIT)], [flat], [rise], 0
            with one_thread(), exact_float32():
                downhill = gradient(frozen, images, labels, names)
            for found, hvps in top_eigenvectors(frozen, images, labels, names, 2, generator):
                slope = np.array([dot(e.direction, downhill) for e in found])
                yield [eigenvector_plane(frozen, found)], [slope], [rise], hvps
            return
        if self.plane == "models" and self.layers.strip():
            raise ValueError(
                "A plane through models moves whatever differs between them. Leave layers empty."
            )
        planes = (
            [through_models(frozen, images, labels, reference, others)]
            if self.plane == "models"
            else (random_planes(frozen, generator, names, self.planes))
        )
        weights = [name for name in planes[0].moving if name in dict(frozen.named_parameters())]
        few = images[:PREVIEW_IMAGES], labels[:PREVIEW_IMAGES]
        with one_thread(), exact_float32():
            found = [derivatives(frozen, *few, p.states[1:], names=weights) for p in planes]
        yield planes, [slope for slope, _ in found], [curvature for _, curvature in found], 0
