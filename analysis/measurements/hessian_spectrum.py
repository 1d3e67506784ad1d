"""Spectrum of the Hessian: extreme eigenvalues, trace and density, from one Krylov pass.

Ghorbani, Krishnan, Xiao 2019 (arXiv 1901.10159) and Yao et al. 2020 (PyHessian, arXiv 1912.07145)
for the quantities. Changed against both: Lanczos reorthogonalizes fully, eigenvalues carry
certificates, the trace reuses the Lanczos basis (Meyer et al. 2021, arXiv 2010.09649) and carries
an interval, layer by layer, and the density is kept as nodes and weights, so that the reader
chooses the smoothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from analysis.curvature.krylov_pass import krylov_pass
from analysis.curvature.operators import Hessian
from analysis.measurements.base import Measurement
from analysis.model_under_test import parameters_of
from analysis.result import Partial, Value
from ngf.options import option


@dataclass(frozen=True, kw_only=True)
class HessianSpectrum(Measurement):
    """Largest and smallest eigenvalue, trace and spectral density of the Hessian of the loss.

    Values:
        lambda_max, lambda_max_error: an eigenvalue lies within the error.
        lambda_min, lambda_min_error: likewise.
        trace, trace_stderr: None until there are two probes.
        trace_low, trace_high: the 95 % interval.
        num_hvps: Hessian-vector products so far.
        num_parameters: of the measured layers.
        note: only if memory ran out.

    Arrays:
        nodes, weights: (M,), the density. Weights sum to 1; times the number of parameters, a
            weight estimates how many eigenvalues its node stands for.
        eigenvalues, residuals: (m,), Ritz values, ascending; an eigenvalue lies within the
            residual.
        layers: (L,), names of the modules with parameters. This and the following come with the
            trace.
        layer_trace, layer_trace_stderr: (L,), of their diagonal blocks.
        layer_size: (L,), their numbers of parameters.
    """

    title: ClassVar[str] = "Hessian spectrum"

    steps: int = option(24, "Lanczos steps from each start vector.", unit="products", ge=1, le=500)
    probes: int = option(20, "Random vectors for the trace.", unit="products", ge=2, le=1000)
    vectors: int = option(2, "Start vectors of the density.", unit="vectors", ge=1, le=30)
    tolerance: float = option(
        0.0,
        "Stop the Lanczos steps once the largest eigenvalue is certain to this relative "
        "error; 0 for never. Eight steps are always made.",
        ge=0.0,
        le=0.5,
        expert=True,
    )

    def measure(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        seed: int,
    ) -> Iterator[Partial]:
        """As `Measurement.measure` says; yields after each product but the first probe's."""
        stamp = self.stamp(images, seed)
        operator = Hessian(model, images, labels, names=parameters_of(model, self.layers))
        for known in krylov_pass(
            operator,
            torch.Generator().manual_seed(seed),
            steps=self.steps,
            probes=self.probes,
            vectors=self.vectors,
            tolerance=self.tolerance,
        ):
            values: dict[str, Value] = {
                **known.values(),
                "num_hvps": known.products,
                "num_parameters": operator.size,
                **stamp(),
            }
            if operator.note:
                values["note"] = operator.note
            yield Partial(
                values=values,
                arrays=known.arrays(),
                fraction=known.fraction,
                done=known.done,
            )
