"""The largest Hessian eigenvalue and the trace by the package PyHessian, so that anyone can
cross-check ours.

Yao et al. 2020 (arXiv 1912.07145), version 0.1 as published, on the same images and weights. It
finds the eigenvalue of largest magnitude by power iteration and stops when the value no longer
changes, which is no bound on its error; the trace is Hutchinson's, stopped when the running mean
changes by less than 0.1 %. Its spectral density calls `torch.eig`, which torch 2 no longer has; the
error that this raises is passed on.
"""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from analysis.measurements.base import Measurement
from analysis.model_under_test import exact_float32, frozen_copy, parameters_of
from analysis.result import Partial, Value
from ngf.options import option

_PRODUCT = "hessian_vector_product"  # the function of PyHessian that makes one


@dataclass(frozen=True, kw_only=True)
class PyHessianCheck(Measurement):
    """Eigenvalue and trace as PyHessian 0.1 computes them.

    Values:
        lambda_max: the eigenvalue of largest magnitude, with its sign.
        trace, trace_stderr: the error is ours, from its samples.
        num_hvps: Hessian-vector products so far.
        density_error: why its density does not run; empty if it does.

    Arrays:
        trace_samples: one per random vector.
    """

    title: ClassVar[str] = "Cross-check by PyHessian"

    tolerance: float = option(
        1e-3, "Relative change at which both iterations stop.", ge=1e-8, le=0.5
    )
    max_iterations: int = option(100, "Most products of each.", unit="products", ge=2, le=2000)

    def measure(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        seed: int,
    ) -> Iterator[Partial]:
        """As `Measurement.measure` says, with all images in one batch; yields after the eigenvalue,
        the trace and the density.
        """
        stamp = self.stamp(images, seed)
        library = importlib.import_module("pyhessian.hessian")
        frozen = frozen_copy(model, images, labels)
        chosen = set(parameters_of(frozen, self.layers))
        for name, parameter in frozen.named_parameters():
            parameter.requires_grad_(name in chosen)
        _drop_unused(frozen, images, labels)
        counter = _Counter(library)
        values: dict[str, Value] = {
            "lambda_max": None,
            "trace": None,
            "trace_stderr": None,
            "density_error": "",
        }
        with torch.random.fork_rng(), exact_float32(), warnings.catch_warnings():
            # It calls backward(create_graph=True), which torch warns about; the graph dies with the
            # copy.
            warnings.filterwarnings("ignore", message="Using backward", category=UserWarning)
            torch.manual_seed(seed)
            theirs = library.hessian(
                frozen,
                nn.functional.cross_entropy,
                data=(images, labels),
                cuda=images.device.type == "cuda",
            )
            with counter:
                found, _ = theirs.eigenvalues(maxIter=self.max_iterations, tol=self.tolerance)
            values["lambda_max"] = float(found[0])
            yield Partial(values={**values, "num_hvps": counter.count, **stamp()}, fraction=0.4)
            with counter:
                samples = np.array(
                    theirs.trace(maxIter=self.max_iterations, tol=self.tolerance), dtype=float
                )
            values["trace"] = float(samples.mean())
            values["trace_stderr"] = (
                float(samples.std(ddof=1) / math.sqrt(len(samples))) if len(samples) > 1 else None
            )
            values["num_hvps"] = counter.count
            yield Partial(
                values={**values, **stamp()}, arrays={"trace_samples": samples}, fraction=0.9
            )
            try:
                with counter:
                    theirs.density(iter=2)
            except (AttributeError, RuntimeError, TypeError) as error:
                values["density_error"] = " ".join(str(error).split())[:200]
        for parameter in frozen.parameters():
            parameter.grad = None  # breaks the cycle between the weights and their graph
        yield Partial(
            values={**values, **stamp()}, arrays={"trace_samples": samples}, fraction=1.0, done=True
        )


def _drop_unused(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    """Freeze parameters that the loss does not depend on: PyHessian stops at them, and their
    curvature is zero.
    """
    active = [p for p in model.parameters() if p.requires_grad]
    loss = nn.functional.cross_entropy(model(images[:2]), labels[:2])
    for parameter, gradient in zip(
        active, torch.autograd.grad(loss, active, allow_unused=True), strict=True
    ):
        parameter.requires_grad_(gradient is not None)


class _Counter:
    """Counts the Hessian-vector products of PyHessian, which it does not report, while entered."""

    def __init__(self, library: ModuleType) -> None:
        self.library, self.count = library, 0

    def __enter__(self) -> None:
        self.product = getattr(self.library, _PRODUCT)

        def counted(*arguments: Any) -> Any:
            self.count += 1
            return self.product(*arguments)

        setattr(self.library, _PRODUCT, counted)

    def __exit__(self, *_: object) -> None:
        setattr(self.library, _PRODUCT, self.product)
