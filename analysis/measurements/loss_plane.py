"""The loss on a plane through weight space.

Random planes: Li et al. 2018 (arXiv 1712.09913), two filter-normalized directions, orthogonalized
after normalizing; one plane says little, so several can be drawn, and the spread between them is
part of the answer. Eigenvector planes: the two largest Ritz vectors of the Hessian, or of the
filter-scaled Hessian. Model planes: Garipov et al. 2018 (arXiv 1802.10026), through the backdoored
and two purified models. The picture is complete at once and gets exact: a quadratic model first,
then coarse to fine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from analysis.cores import one_thread
from analysis.curvature.gradients import mean_gradient
from analysis.distances import distance_option, unit
from analysis.landscape.directions import dot, from_flat
from analysis.landscape.eigenvectors import top_eigenvectors
from analysis.landscape.interpolation import BETWEEN, BETWEEN_HELP
from analysis.landscape.loss_at import LossAt
from analysis.landscape.planes import (
    Plane,
    eigenvector_plane,
    on_plane,
    place,
    random_planes,
    through_models,
)
from analysis.landscape.progressive_surface import ProgressiveSurface, derivatives, quadratic
from analysis.measurements.base import Measurement, Needs
from analysis.model_under_test import (
    Reading,
    evaluate,
    exact_float32,
    frozen_copy,
    parameters_of,
)
from analysis.result import Partial, Value
from ngf.checkpoints.waypoints import Waypoint
from ngf.options import option

PREVIEW_IMAGES = 64  # the picture is there at once and soon measured, so a few images are enough


@dataclass(frozen=True, kw_only=True)
class LossPlane(Measurement):
    """Loss and accuracy on planes through the weights.

    Values:
        plane: random, eigenvectors, filter_eigenvectors or models.
        loss, rate_center: at the measured model, in nats and as a share of right answers.
        rate: what that share is called on these images.
        cosine, cosine_after: between the directions before and after they are made orthogonal; the
            largest of all planes.
        a_unit, b_unit: of the axes.
        lambda_a, lambda_b: eigenvalues along the axes; None where these are no eigenvectors.
        lambda_a_error, lambda_b_error, num_hvps: for eigenvectors only.
        num_planes: P.
        spread: mean over measured cells of the highest loss minus the lowest, over planes.
        num_not_finite: cells whose loss overflows; they show the largest that does not.
        batch_norm_between, path_share, third: for models only. path_share is how much of the
            path's length lies in the plane; None without a path.

    Arrays, from the first partial result on:
        a, b: (A,) and (B,), ascending.
        loss, rate: (P, B, A), complete. Cells that are not measured yet are a quadratic model,
            later interpolated.
        known: (B, A), 1 where measured.
        points, point_names: (K, 2) and (K,), where models lie.
        path, path_names: (S, 2) and (S,), the weights that the purification has kept on its way;
            for models only.
    """

    title: ClassVar[str] = "Loss on a plane"

    plane: str = option(
        "random",
        "What spans the plane: random filter-normalized directions, the two steepest "
        "eigenvectors of the Hessian or of the filter-scaled Hessian, or three models.",
        choices=("random", "eigenvectors", "filter_eigenvectors", "models"),
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
        "How far the axes reach: as a share of each filter's length; for eigenvectors see "
        "distance; for models, how far beyond them, as a share of their extent.",
        ge=0.001,
        le=100.0,
    )
    distance: str = distance_option()
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
        """As `Measurement.measure` says; yields previews, then after each row of cells.

        reference: the model before purification.
        others: the models that `others()` names, in that order.
        path: weights on the way to the measured model.

        Raises ValueError if there is nothing that spans a plane, and where the loss at the weights
        is not finite.
        """
        stamp = self.stamp(images, seed)
        frozen = frozen_copy(model, images, labels)
        if self.planes > 1 and self.plane != "random":
            raise ValueError(
                f"There is one plane of {self.plane}. Several planes need plane = random."
            )
        with one_thread():
            center = evaluate(frozen, images, labels)
        if not np.isfinite(center.loss):
            raise ValueError(
                "The loss at the weights is not finite, so there is no surface around them."
            )
        num_classes = int(labels.max()) + 1
        for spanned in self._spanned(frozen, images, labels, seed, reference, others):
            picture = self._picture(spanned, center, num_classes)
            if path and self.plane == "models":
                weights = dict(frozen.named_parameters())
                way, share = on_plane(spanned.planes[0], path, weights)
                picture = replace(picture, way=way, path_share=share)
            yield self._partial(picture, center, stamp())
        # The last picture holds.
        first, surface = picture.spanned.planes[0], picture.surface
        loss_at = LossAt(
            frozen,
            images,
            labels,
            first.moving,
            floors=first.floors,
            between=self.batch_norm_between if self.plane == "models" else "interpolated",
        )
        for row, columns in surface.rows():
            places = [place(picture.a[k], picture.b[row]) for k in columns]
            # (planes, columns, 3): loss, its error, rate
            table = np.array([loss_at(p.states, places) for p in picture.spanned.planes])
            surface.record(row, columns, table[..., 0], table[..., 2])
            yield self._partial(picture, center, stamp())

    def _spanned(
        self,
        frozen: nn.Module,
        images: Tensor,
        labels: Tensor,
        seed: int,
        reference: nn.Module | None,
        others: Sequence[nn.Module],
    ) -> Iterator[_Spanned]:
        """The planes as they become known: the first time at once, and the last one holds."""
        names = parameters_of(frozen, self.layers)
        generator = torch.Generator().manual_seed(seed)
        if self._eigenvectors:
            yield from self._along_eigenvectors(frozen, images, labels, names, generator)
            return
        if self.plane == "models" and self.layers.strip():
            raise ValueError(
                "A plane through models moves whatever differs between them. Leave layers empty."
            )
        planes = (
            [through_models(frozen, images, labels, reference, others)]
            if self.plane == "models"
            else random_planes(frozen, generator, names, self.planes)
        )
        known = dict(frozen.named_parameters())
        weights = [name for name in planes[0].moving if name in known]
        few = images[:PREVIEW_IMAGES], labels[:PREVIEW_IMAGES]
        with one_thread(), exact_float32():
            at_center = [derivatives(frozen, *few, p.states[1:], names=weights) for p in planes]
        slopes, curvatures = zip(*at_center, strict=True)
        yield _Spanned(planes=planes, slopes=slopes, curvatures=curvatures)

    @property
    def _eigenvectors(self) -> bool:
        return self.plane in ("eigenvectors", "filter_eigenvectors")

    def _along_eigenvectors(
        self,
        frozen: nn.Module,
        images: Tensor,
        labels: Tensor,
        names: Sequence[str],
        generator: torch.Generator,
    ) -> Iterator[_Spanned]:
        """The plane along the two steepest eigenvectors, after each product that changes them."""
        filters = self.plane == "filter_eigenvectors"
        one = unit(filters, self.distance)
        if self.distance == "rise":
            # This unit makes the curvature the same, whichever the eigenvectors are.
            rise = 2 * np.eye(2)
            yield _Spanned(planes=[Plane(unit=one)], slopes=[np.zeros(2)], curvatures=[rise])
        with one_thread():
            gradient = mean_gradient(frozen, names, images, labels)
        downhill = from_flat(gradient, {name: frozen.get_parameter(name) for name in names})
        stream = top_eigenvectors(
            frozen,
            images,
            labels,
            names,
            2,
            generator,
            filters=filters,
            distance=self.distance,
        )
        for found, products in stream:
            yield _Spanned(
                planes=[eigenvector_plane(frozen, found, one)],
                slopes=[np.array([dot(e.direction, downhill) for e in found])],
                curvatures=[
                    2 * np.eye(2) if self.distance == "rise" else np.diag([e.value for e in found])
                ],
                products=products,
            )

    def _picture(self, spanned: _Spanned, center: Reading, num_classes: int) -> _Picture:
        """What is shown before a cell is measured: the quadratic model."""
        a, b = spanned.planes[0].axes(self.points, self.reach)
        preview = [
            quadratic(
                center.loss,
                slope,
                curvature,
                a - plane.center[0],
                b - plane.center[1],
                num_classes=num_classes,
            )
            for plane, slope, curvature in zip(
                spanned.planes, spanned.slopes, spanned.curvatures, strict=True
            )
        ]
        shape = (len(spanned.planes), len(b), len(a))
        surface = ProgressiveSurface(np.array(preview), np.full(shape, center.rate))
        return _Picture(spanned=spanned, a=a, b=b, surface=surface)

    def _partial(self, picture: _Picture, center: Reading, stamp: Mapping[str, Value]) -> Partial:
        """What the picture shows now."""
        planes, surface = picture.spanned.planes, picture.surface
        first = planes[0]
        values: dict[str, Value] = {
            "plane": self.plane,
            "loss": center.loss,
            "rate": self.rate,
            "rate_center": center.rate,
            "cosine": max((p.cosine for p in planes), key=abs),
            "cosine_after": max((p.cosine_after for p in planes), key=abs),
            "a_unit": first.unit,
            "b_unit": first.unit,
            "lambda_a": first.curvatures[0],
            "lambda_b": first.curvatures[1],
            "num_planes": len(planes),
            "spread": surface.spread(),
            "num_not_finite": surface.num_not_finite,
            **stamp,
        }
        if self.plane == "models":
            values |= {
                "batch_norm_between": self.batch_norm_between,
                "path_share": picture.path_share,
                "third": self.third,
            }
        if self._eigenvectors:
            values |= {
                "lambda_a_error": first.errors[0],
                "lambda_b_error": first.errors[1],
                "num_hvps": picture.spanned.products,
            }
        return Partial(
            values=values,
            arrays={
                "a": picture.a,
                "b": picture.b,
                "points": first.points,
                "point_names": np.array(first.names),
                **picture.way,
                **surface.arrays(),
            },
            fraction=float((1 + surface.known.sum()) / (1 + surface.known.size)),
            done=bool(surface.known.all()),
        )


@dataclass(frozen=True, kw_only=True)
class _Spanned:
    """Planes, and the quadratic model of the loss on each, at the measured model.

    planes: P, with the same axes.
    slopes: first derivatives along a and b, one (2,) per plane.
    curvatures: second derivatives, one (2, 2) per plane.
    products: Hessian-vector products so far.
    """

    planes: Sequence[Plane]
    slopes: Sequence[np.ndarray]
    curvatures: Sequence[np.ndarray]
    products: int = 0


@dataclass(frozen=True, kw_only=True)
class _Picture:
    """What is drawn.

    spanned: the planes.
    a, b: their axes, (A,) and (B,).
    surface: of P planes; it gets exact.
    way: arrays of the path, where there is one.
    path_share: how much of the path's length lies in the plane.
    """

    spanned: _Spanned
    a: np.ndarray
    b: np.ndarray
    surface: ProgressiveSurface
    way: Mapping[str, np.ndarray] = field(default_factory=dict)
    path_share: float | None = None
