"""Curvature along a training or a purification: is the road as sharp as its end?

At each step whose weights the run has kept: the largest Hessian eigenvalue (Lanczos, started from
the eigenvector of the step before, which has not turned much), the traces of Hessian and Fisher,
and the loss on one random filter-normalized direction. All steps see the same images, the same
probes and the same direction, so that what differs between them is the weights. A run that still
goes on is followed until it ends.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from analysis.curvature.krylov import deflated_trace, lanczos
from analysis.curvature.operators import Hessian
from analysis.measurements.base import Measurement, Needs
from analysis.measurements.fisher_trace import FisherTrace
from analysis.measurements.loss_slice import filter_normalized, move
from analysis.model_under_test import evaluate, frozen_copy, parameters_of
from analysis.result import Partial
from ngf.checkpoints.waypoints import Waypoint
from ngf.options import option

MOST_PRODUCTS = (
    30  # for one eigenvalue; a certificate comes after about 7, or 3 from a near eigenvector
)
NOISE = 0.1  # length of the random part of a warm start


@dataclass(frozen=True, kw_only=True)
class AlongRun(Measurement):
    """Sharpness at the steps whose weights a run has kept.

    Values: lambda_max, lambda_max_error, trace, trace_stderr, fisher_trace, fisher_trace_stderr,
    loss, ca at the last step so far; rate (what `ca` is on these data), num_hvps. Arrays, T steps
    so far: step (T,), lambda_max, lambda_max_error, trace, trace_stderr, fisher_trace,
    fisher_trace_stderr, loss, ca, weight_norm, distance_from_start (T,) each; distance (M,) and
    slice (T, M), the loss along the direction.
    """

    title: ClassVar[str] = "Curvature along a run"

    num_images: int = option(
        256, "Images to measure on, drawn by the seed.", unit="images", ge=1, le=100_000
    )
    tolerance: float = option(
        0.01, "Relative error of the eigenvalue that ends its search.", ge=1e-6, le=0.5
    )
    probes: int = option(
        6, "Random vectors for the trace at each step.", unit="products", ge=2, le=200
    )
    points: int = option(11, "Points of the slice at each step.", unit="points", ge=3, le=101)
    reach: float = option(
        0.3, "Largest distance of the slice, as a share of each filter's length.", ge=0.001, le=10.0
    )

    def needs(self) -> Needs:
        return Needs(reference=True, path="needed")

    def measure(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        seed: int,
        reference: nn.Module | None = None,
        path: Iterable[Waypoint] | None = None,
    ) -> Iterator[Partial]:
        """images: float (N, C, H, W) in [0, 1]; labels: int64 (N,). path: ascending; without it,
        from `reference` (step 0) to `model` (step 1).
        """
        stamp = self.stamp(images, seed)
        if path is None:
            ends = [m for m in (reference, model) if m is not None]
            path = [Waypoint(step, len(ends) - 1, m.state_dict()) for step, m in enumerate(ends)]
        frozen = frozen_copy(model, images, labels)
        direction = filter_normalized(frozen, torch.Generator().manual_seed(seed))
        distances = np.linspace(-self.reach, self.reach, self.points)
        rows: list[dict[str, float]] = []
        slices: list[list[float]] = []
        top, origin, hvps = None, None, 0
        for at in path:
            frozen.load_state_dict(at.state)
            flat = torch.cat([p.detach().cpu().double().reshape(-1) for p in frozen.parameters()])
            origin = flat if origin is None else origin
            sharpness, top, products = self._sharpness(frozen, images, labels, seed, top)
            loss, _, ca = evaluate(frozen, images, labels)
            hvps += products
            rows.append(
                {
                    "step": at.step,
                    **sharpness,
                    "loss": loss,
                    "ca": ca,
                    "weight_norm": float(flat.norm()),
                    "distance_from_start": float((flat - origin).norm()),
                }
            )
            slices.append(_slice(frozen, direction, distances, images, labels))
            yield Partial(
                values={**rows[-1], "num_hvps": hvps, "rate": self.rate, **stamp()},
                arrays={
                    **{
                        name: np.array([row[name] for row in rows], dtype=float) for name in rows[0]
                    },
                    "distance": distances,
                    "slice": np.array(slices),
                },
                fraction=(at.step + 1) / (at.steps + 1),
                done=at.step == at.steps,
            )

    def _sharpness(
        self, frozen: nn.Module, images: Tensor, labels: Tensor, seed: int, start: Tensor | None
    ) -> tuple[dict[str, float], Tensor, int]:
        """Eigenvalue and traces with their errors, where to start next time, and the number
        of products.
        """
        operator = Hessian(frozen, images, labels, names=parameters_of(frozen, self.layers))
        for known in lanczos(
            operator, MOST_PRODUCTS, torch.Generator().manual_seed(seed), start=start
        ):
            if known.residuals[-1] <= self.tolerance * abs(known.values[-1]):
                break
        *_, trace = deflated_trace(
            operator, known, self.probes, torch.Generator().manual_seed(seed)
        )
        cheap = FisherTrace(draws=5, empirical=False, layers=self.layers)
        *_, fisher = cheap.measure(frozen, images, labels, seed=seed)
        found = {
            "lambda_max": float(known.values[-1]),
            "lambda_max_error": float(known.residuals[-1]),
            "trace": trace.value,
            "trace_stderr": trace.stderr,
        }
        found |= {name: fisher.values[name] for name in ("fisher_trace", "fisher_trace_stderr")}
        # A little noise, so that an eigenvector that becomes the largest from nothing is found as
        # well.
        noise = torch.randn(operator.size, generator=torch.Generator().manual_seed(seed)).to(
            known.basis
        )
        return (
            found,
            known.vector(-1) + NOISE * noise / noise.norm(),
            len(known.values) + trace.probes,
        )


def _slice(
    frozen: nn.Module,
    direction: dict[str, Tensor],
    distances: np.ndarray,
    images: Tensor,
    labels: Tensor,
) -> list[float]:
    """The loss at each distance; the weights of a copy are moved."""
    walker = copy.deepcopy(frozen)
    start = {name: p.clone() for name, p in walker.named_parameters()}
    losses = []
    for distance in distances:
        move(walker, start, direction, float(distance))
        losses.append(evaluate(walker, images, labels)[0])
    return losses
