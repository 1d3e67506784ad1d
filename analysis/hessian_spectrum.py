"""Spectrum of the Hessian: extreme eigenvalues, trace and density, from one Krylov pass.

Ghorbani, Krishnan, Xiao 2019 (arXiv 1901.10159) and Yao et al. 2020 (PyHessian, arXiv 1912.07145) for the
quantities. Changed against both: Lanczos reorthogonalizes fully, eigenvalues carry certificates, the trace
reuses the Lanczos basis (Meyer et al. 2021, arXiv 2010.09649) and carries a standard error, and the density
is kept as nodes and weights, so that the reader chooses the smoothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from analysis.krylov import Ritz, Trace, deflated_trace, density, lanczos
from analysis.measurement import Measurement
from analysis.operators import Hessian
from analysis.partial import Partial
from ngf.config import option


@dataclass(frozen=True, kw_only=True)
class HessianSpectrum(Measurement):
    """Largest and smallest eigenvalue, trace and spectral density of the Hessian of the loss.

    Values: lambda_max, lambda_max_error, lambda_min, lambda_min_error, trace, trace_stderr (None until two
    probes), num_hvps. Arrays: nodes, weights (the density, weights sum to 1; weights times the number of
    parameters estimates how many eigenvalues a node stands for), eigenvalues and residuals (Ritz values,
    ascending; an eigenvalue lies within its residual).
    """

    title: ClassVar[str] = "Hessian spectrum"

    steps: int = option(24, "Lanczos steps from each start vector.", unit="products", ge=1, le=500)
    probes: int = option(20, "Random vectors for the trace.", unit="products", ge=2, le=1000)
    vectors: int = option(2, "Start vectors of the density.", unit="vectors", ge=1, le=30)

    def measure(self, model: nn.Module, images: Tensor, labels: Tensor, *, seed: int,
                reference: nn.Module | None = None) -> Iterator[Partial]:
        """images: float (N, C, H, W) in [0, 1]; labels: int64 (N,). `reference` is not used."""
        stamp = self.stamp(images, seed)
        generator = torch.Generator().manual_seed(seed)
        operator = Hessian(model, images, labels)
        steps = min(self.steps, operator.size)
        probes = self.probes if steps < operator.size else 0
        total = steps * self.vectors + probes
        hvps, trace = 0, None
        runs: list[Ritz] = []

        def partial(known: Ritz, seen: list[Ritz], trace: Trace | None) -> Partial:
            nodes, weights = density(seen)
            values = {
                "lambda_max": float(known.values[-1]), "lambda_max_error": float(known.residuals[-1]),
                "lambda_min": float(known.values[0]), "lambda_min_error": float(known.residuals[0]),
                "trace": trace.value if trace else None, "trace_stderr": trace.stderr if trace else None,
                "num_hvps": hvps, "num_parameters": operator.size, **stamp(),
            }
            arrays = {"nodes": nodes, "weights": weights,
                      "eigenvalues": np.array(known.values), "residuals": np.array(known.residuals)}
            return Partial(values=values, arrays=arrays, fraction=hvps / total, done=hvps >= total)

        for known in lanczos(operator, steps, generator):
            hvps += 1
            if hvps < steps:
                yield partial(known, [known], trace)
        runs.append(known.without_basis())
        for trace in deflated_trace(operator, known, self.probes, generator):
            hvps += min(trace.probes, 1)
            if trace.probes != 1:  # one probe has no error bar
                yield partial(known, runs, trace)
        for _ in range(self.vectors - 1):
            for other in lanczos(operator, steps, generator):
                hvps += 1
                # A start vector counts once its run is long enough to resolve the bulk as the others do.
                if len(other.values) == steps:
                    runs.append(other.without_basis())
                yield partial(known, runs, trace)
