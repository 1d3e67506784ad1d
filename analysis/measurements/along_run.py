"""Curvature along a training or a purification: is the road as sharp as its end?

At each step whose weights the run has kept, it measures the largest Hessian eigenvalue (Lanczos,
started from the eigenvector of the step before, which has not turned much), the traces of Hessian
and Fisher, and the loss on one random filter-normalized direction. All steps see the same images,
the same probes and the same direction, so that only the weights differ between them. A run that
still goes on is followed until it ends.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from analysis.curvature.fisher import sampled_traces, standard_error
from analysis.curvature.krylov import deflated_trace, lanczos
from analysis.curvature.operators import Hessian
from analysis.landscape.directions import Direction, filter_normalized, move
from analysis.measurements.base import Measurement, Needs
from analysis.model_under_test import evaluate, frozen_copy, parameters_by_layer, parameters_of
from analysis.result import Partial
from ngf.checkpoints.waypoints import Waypoint
from ngf.models.bounds import load_state
from ngf.options import option

# For one eigenvalue; a certificate comes after about 7, or 3 from a near eigenvector.
MOST_PRODUCTS = 30
# Length of the random part of a warm start, beside the eigenvector's of 1: the start stays near the
# eigenvector, and what is new in it is far above rounding.
NOISE = 0.1
FISHER_DRAWS = 5  # at each step; they cost less than the eigenvalue does


@dataclass(frozen=True, kw_only=True)
class AlongRun(Measurement):
    """Sharpness at the steps whose weights a run has kept.

    Values, at the last step so far:
        lambda_max, lambda_max_error: largest eigenvalue of the Hessian; one lies within the error.
        trace, trace_stderr: of the Hessian.
        fisher_trace, fisher_trace_stderr: of the true Fisher information.
        loss, ca: mean cross-entropy in nats, share of right answers.
        rate: what `ca` is called on these images.
        num_hvps: Hessian-vector products so far.

    Arrays, for T steps so far:
        step: (T,), 0 for the start.
        the values above, from lambda_max to ca: (T,) each.
        weight_norm, distance_from_start: (T,), over all parameters.
        distance: (M,), along the direction, as a share of each filter's length.
        slice: (T, M), the loss there.
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
        """As `Measurement.measure` says; yields after each step of `path`.

        path: ascending; without it, from `reference` (step 0) to `model` (step 1).
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
        start: Tensor | None = None
        origin: Tensor | None = None
        hvps = 0
        for at in path:
            load_state(frozen, at.state)
            flat = torch.cat([p.detach().cpu().double().reshape(-1) for p in frozen.parameters()])
            origin = flat if origin is None else origin
            row, start, products = self._hessian(frozen, images, labels, seed, start)
            hvps += products
            row |= self._fisher(frozen, images, seed)
            row["loss"], _, row["ca"] = evaluate(frozen, images, labels)
            row["weight_norm"] = float(flat.norm())
            row["distance_from_start"] = float((flat - origin).norm())
            rows.append({"step": at.step, **row})
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

    def _hessian(
        self, frozen: nn.Module, images: Tensor, labels: Tensor, seed: int, start: Tensor | None
    ) -> tuple[dict[str, float], Tensor, int]:
        """Eigenvalue and trace with their errors, where to start next time, and the number of
        products.
        """
        operator = Hessian(frozen, images, labels, names=parameters_of(frozen, self.layers))
        generator = torch.Generator().manual_seed(seed)
        for known in lanczos(operator, MOST_PRODUCTS, generator, start=start):
            if known.residuals[-1] <= self.tolerance * abs(known.values[-1]):
                break
        generator = torch.Generator().manual_seed(seed)
        *_, trace = deflated_trace(operator, known, self.probes, generator)
        # A little noise, so that an eigenvector that becomes the largest from nothing is found as
        # well.
        noise = torch.randn(operator.size, generator=torch.Generator().manual_seed(seed))
        noise = noise.to(known.basis)
        return (
            {
                "lambda_max": float(known.values[-1]),
                "lambda_max_error": float(known.residuals[-1]),
                "trace": trace.value,
                "trace_stderr": trace.stderr,
            },
            known.vector(-1) + NOISE * noise / noise.norm(),
            len(known.values) + trace.probes,
        )

    def _fisher(self, frozen: nn.Module, images: Tensor, seed: int) -> dict[str, float]:
        """The trace of the true Fisher information and its standard error."""
        layers = parameters_by_layer(frozen, self.layers)
        generator = torch.Generator().manual_seed(seed)
        traces = [
            sampled_traces(frozen, layers, images, generator=generator).sum()
            for _ in range(FISHER_DRAWS)
        ]
        return {
            "fisher_trace": float(np.mean(traces)),
            "fisher_trace_stderr": float(standard_error(np.array(traces))),
        }


def _slice(
    frozen: nn.Module,
    direction: Direction,
    distances: np.ndarray,
    images: Tensor,
    labels: Tensor,
) -> list[float]:
    """The loss at each distance; the weights of a copy are moved."""
    moved = copy.deepcopy(frozen)
    start = dict(frozen.named_parameters())
    losses = []
    for distance in distances.tolist():
        move(moved, start, direction, distance)
        losses.append(evaluate(moved, images, labels)[0])
    return losses
