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
from analysis.result import Partial
from ngf.options import option


@dataclass(frozen=True, kw_only=True)
class HessianSpectrum(Measurement):
    """Largest and smallest eigenvalue, trace and spectral density of the Hessian of the loss.

    Values: lambda_max, lambda_max_error, lambda_min, lambda_min_error, trace, trace_stderr,
    trace_low, trace_high (95 % interval; None until two probes), num_hvps, num_parameters, and note
    if memory ran out. Arrays: nodes, weights (the density, weights sum to 1; weights times the
    number of parameters estimates how many eigenvalues a node stands for), eigenvalues and
    residuals (Ritz values, ascending; an eigenvalue lies within its residual), and with the trace:
    layers (names of the modules with parameters), layer_trace and layer_trace_stderr (the trace of
    their diagonal block), layer_size (parameters).
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
        """images: float (N, C, H, W) in [0, 1]; labels: int64 (N,)."""
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
            values = {
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
                fraction=known.products / known.total,
                done=known.products == known.total,
            )
