"""What happens to curvature when a layer is rescaled and no prediction changes.

Dinh et al. 2017 (arXiv 1703.04933) for the argument: the weights before a BatchNorm can be
multiplied by any factor a. The Hessian in these weights is divided by a^2, so lambda_max and the
trace can be made as large as one likes, while what is scaled by the weights (D H D, see
`analysis.curvature.rescale`) stays. Each factor is measured on the rescaled network itself, with
the same random vectors, so that what differs is not chance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Generator, Tensor, nn

from analysis.curvature.gradients import predictions
from analysis.curvature.krylov_pass import krylov_pass
from analysis.curvature.operators import Hessian, Scaled, fisher_rao_norm
from analysis.curvature.rescale import rescaled, scale_pairs, scaling
from analysis.measurements.base import Measurement, Needs
from analysis.model_under_test import frozen_copy, parameters_of
from analysis.result import Partial, Value
from ngf.options import option

MEASURES = (
    "lambda_max",
    "trace",
    "filter_lambda_max",
    "filter_trace",
    "adaptive_lambda_max",
    "adaptive_trace",
)
TOLERANCE = 1e-3  # of an eigenvalue that ends its search: far below the factors that are shown


@dataclass(frozen=True, kw_only=True)
class Rescaling(Measurement):
    """Curvature of one and the same function with a layer before BatchNorm multiplied by 1/100 to
    100.

    Values:
        layer: that is rescaled.
        norm_layer: the BatchNorm that takes out its scale.
        max_change: largest change of a logit over all factors.
        changed_predictions: images whose class has changed.
        <measure>_ratio: largest over smallest size over the factors, for each of `MEASURES`; None
            if one is zero.
        num_hvps: Hessian-vector products so far.
        note: only if memory ran out.

    Arrays, ascending by factor, where M grows:
        factor: (M,).
        <measure>, <measure>_error: (M,), for each of `MEASURES`; the error is a bound for
            eigenvalues and a standard error for traces.
        fisher_rao_norm: (M,), squared.
        weight_norm: (M,), of the layer.
        max_change: (M,), of a logit.
    """

    title: ClassVar[str] = "Rescale a layer"

    num_images: int = option(
        128, "Images to measure on, drawn by the seed.", unit="images", ge=1, le=100_000
    )
    layer: str = option(
        "", "Layer to rescale, one whose output goes into a BatchNorm; empty for the first one."
    )
    points: int = option(
        9, "Factors; an even number is raised by one, to hold 1.", unit="points", ge=3, le=101
    )
    reach: float = option(100.0, "Largest factor; the smallest is its inverse.", ge=1.1, le=1e4)
    steps: int = option(
        10, "Most Lanczos steps for each eigenvalue.", unit="products", ge=1, le=500, expert=True
    )
    probes: int = option(
        4, "Random vectors for each trace.", unit="products", ge=2, le=1000, expert=True
    )

    def needs(self) -> Needs:
        return Needs(models="one")

    def measure(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        seed: int,
    ) -> Iterator[Partial]:
        """As `Measurement.measure` says; yields after each factor.

        Raises ValueError if no layer feeds a BatchNorm only, or `layer` is not one of those that
        do.
        """
        stamp = self.stamp(images, seed)
        frozen = frozen_copy(model, images, labels)
        names = parameters_of(frozen, self.layers)
        layer, norm = self._choose(scale_pairs(frozen, images))
        before = predictions(frozen, images)
        half = self.points // 2
        rows: dict[int, dict[str, float | None]] = {}
        changed_predictions = num_hvps = 0
        for index in sorted(range(-half, half + 1), key=abs):  # from the network as it is outward
            factor = self.reach ** (index / half)
            changed = rescaled(frozen, layer, norm, factor)
            after = predictions(changed, images)
            changed_predictions += int((after.argmax(1) != before.argmax(1)).sum())
            hessian = Hessian(changed, images, labels, names=names)
            row, products = self._curvature(changed, hessian, names, seed)
            num_hvps += products
            rows[index] = {
                "factor": factor,
                **row,
                "fisher_rao_norm": fisher_rao_norm(changed, images, labels, names),
                "weight_norm": float(changed.get_parameter(f"{layer}.weight").norm()),
                "max_change": float((after - before).abs().max()),
            }
            arrays = {key: np.array([rows[k][key] for k in sorted(rows)]) for key in rows[0]}
            values: dict[str, Value] = {
                "layer": layer,
                "norm_layer": norm,
                "changed_predictions": changed_predictions,
                "num_hvps": num_hvps,
                "max_change": float(arrays["max_change"].max()),
            }
            for name in MEASURES:
                low, high = np.abs(arrays[name]).min(), np.abs(arrays[name]).max()
                values[f"{name}_ratio"] = float(high / low) if low > 0 else None
            if hessian.note:
                values["note"] = hessian.note
            yield Partial(
                values={**values, **stamp()},
                arrays=arrays,
                fraction=len(rows) / (2 * half + 1),
                done=len(rows) == 2 * half + 1,
            )

    def _curvature(
        self, model: nn.Module, hessian: Hessian, names: list[str], seed: int
    ) -> tuple[dict[str, float | None], int]:
        """Eigenvalue and trace with their errors, plain and scaled, and how many products they
        took.
        """
        parameters = {name: model.get_parameter(name) for name in names}
        row: dict[str, float | None] = {}
        products = 0
        for kind in ("", "filter", "adaptive"):
            operator = Scaled(hessian, scaling(parameters, kind)) if kind else hessian
            *_, known = krylov_pass(
                operator,
                Generator().manual_seed(seed),
                steps=self.steps,
                probes=self.probes,
                tolerance=TOLERANCE,
            )
            found, title = known.values(), f"{kind}_" if kind else ""
            row |= {
                f"{title}lambda_max": found["lambda_max"],
                f"{title}lambda_max_error": found["lambda_max_error"],
                f"{title}trace": found["trace"],
                f"{title}trace_error": found["trace_stderr"],
            }
            products += known.products
        return row, products

    def _choose(self, pairs: dict[str, str]) -> tuple[str, str]:
        if not pairs:
            raise ValueError(
                "No layer of this model feeds a BatchNorm and nothing else, so none can be "
                "rescaled without changing the predictions. Measure a model with BatchNorm after "
                "a convolution."
            )
        layer = self.layer or next(iter(pairs))
        if layer not in pairs:
            raise ValueError(
                f"{layer} cannot be rescaled without changing the predictions. Allowed: "
                f"{', '.join(pairs)}."
            )
        return layer, pairs[layer]
