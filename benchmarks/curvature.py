"""Curvature against public peers on the same weights and images, in one process: PyHessian 0.1 and
curvlinops 3.0.

    python -m benchmarks.curvature [--out benchmarks/results/curvature.json]

The question is how long it takes to know the largest eigenvalue, the spectral density, and Tr(H) to
the same error: its root mean square over `--seeds` seeds, against a long reference. Ours is what
the dashboard runs by default. PyHessian's products for that error follow from the variance of its
single probes (an average of N has 1/N of it), those of curvlinops from its XTrace at a few budgets;
each is charged at its own measured time per product.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch.nn import functional as F

from analysis.curvature.krylov import deflated_trace, lanczos
from analysis.curvature.operators import Hessian
from analysis.measurements.hessian_spectrum import HessianSpectrum
from benchmarks import RESULTS, write
from ngf import models
from ngf.checkpoints.weights import load_model
from ngf.config import Choice, TrainSpec
from ngf.data import load, to_float
from ngf.environment import environment, exact_numerics
from ngf.runs.store import Store
from ngf.terminal import finish

RUN = TrainSpec(attack=Choice("badnets")).id
PYHESSIAN_DENSITY = 100  # Lanczos steps of its density, its default
XTRACE_BUDGETS = (20, 40, 60, 90)
SPECTRUM_STEPS = 128  # of curvlinops' lanczos_approximate_spectrum, as its example has it
T = TypeVar("T")


def timed(work: Callable[..., T], *arguments: Any) -> tuple[float, T]:
    """Seconds, and what it gives."""
    started = time.perf_counter()
    found = work(*arguments)
    return time.perf_counter() - started, found


def images_of(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    test = load("signs").test
    chosen = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))[:count]
    return to_float(test.images[chosen]), test.labels[chosen]


def hvp_cost(name: str, model: torch.nn.Module, count: int, repeats: int = 5) -> dict[str, Any]:
    """Seconds of a gradient and of a product with kept graphs, one after the other, and the median
    of their ratios.
    """
    images, labels = images_of(count)
    parameters = list(model.eval().parameters())
    operator = Hessian(model, images, labels, cache_bytes=12 * 2**30)
    vector = torch.randn(operator.size, generator=torch.Generator().manual_seed(1))

    def gradient() -> None:
        for x, y in zip(images.split(64), labels.split(64), strict=True):
            torch.autograd.grad(
                F.cross_entropy(model(x), y, reduction="sum"), parameters, allow_unused=True
            )

    gradient()
    operator @ vector  # builds the graphs
    pairs = [(timed(gradient)[0], timed(lambda: operator @ vector)[0]) for _ in range(repeats)]
    return {
        "net": name,
        "parameters": operator.size,
        "images": count,
        "n": repeats,
        "gradient_seconds": statistics.median(g for g, _ in pairs),
        "hvp_seconds": statistics.median(h for _, h in pairs),
        "hvp_in_gradients": statistics.median(h / g for g, h in pairs),
    }


def certificate(model: torch.nn.Module, tolerance: float = 0.01) -> dict[str, Any]:
    """How long it takes to know the largest eigenvalue to the relative `tolerance`."""
    images, labels = images_of(512)
    operator = Hessian(model, images, labels)
    started = time.perf_counter()
    for known in lanczos(operator, 50, torch.Generator().manual_seed(0)):
        if known.residuals[-1] <= tolerance * abs(known.values[-1]):
            break
    return {
        "hvps": len(known.values),
        "seconds": time.perf_counter() - started,
        "images": 512,
        "lambda_max": float(known.values[-1]),
        "certified_error": float(known.residuals[-1]),
    }


def reference_trace(operator: Hessian, probes: int) -> tuple[float, float]:
    """The trace and its standard error, from many probes."""
    *_, known = lanczos(operator, 60, torch.Generator().manual_seed(10_000))
    *_, trace = deflated_trace(operator, known, probes, torch.Generator().manual_seed(10_001))
    return trace.value, trace.stderr


def ours(
    model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, seeds: int, truth: float
) -> dict[str, Any]:
    """All three by the default options; the error of the trace is over seeds."""

    def last(seed: int) -> Mapping[str, Any]:
        *_, partial = HessianSpectrum().measure(model, images, labels, seed=seed)
        return partial.values

    seconds, found = zip(*(timed(last, seed) for seed in range(seeds)), strict=True)
    return {
        "seconds": statistics.median(seconds),
        "hvps": found[-1]["num_hvps"],
        "trace_rmse": rmse([values["trace"] - truth for values in found]),
        "seeds": seeds,
        "lambda_max": found[-1]["lambda_max"],
    }


def rmse(errors: list[float]) -> float:
    """Their root mean square."""
    return float(np.sqrt(np.mean(np.square(errors))))


def pyhessian(
    model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, error: float
) -> dict[str, Any]:
    """Power iteration to its own stop, its density, and as many probes as `error` takes."""
    import pyhessian.hessian  # noqa: F401 - the package's attribute of this name is a class

    theirs = sys.modules["pyhessian.hessian"].hessian(
        model, F.cross_entropy, data=(images, labels), cuda=False
    )
    torch.manual_seed(0)
    took, samples = timed(lambda: theirs.trace(maxIter=200, tol=-1.0))
    one = took / len(samples)
    power, found = timed(lambda: theirs.eigenvalues())
    variance = float(np.var(samples, ddof=1))
    probes = math.ceil(variance / error**2)
    for parameter in model.parameters():
        parameter.grad = None
    return {
        "seconds_per_hvp": one,
        "lambda_max": float(found[0][0]),
        "lambda_max_seconds": power,
        "probe_standard_deviation": math.sqrt(variance),
        "probes_measured": len(samples),
        "probes_for_rmse": probes,
        "density_hvps": PYHESSIAN_DENSITY,
        "seconds": power + (probes + PYHESSIAN_DENSITY) * one,
    }


def curvlinops(
    model: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    error: float,
    truth: float,
    seeds: int,
) -> dict[str, Any]:
    """SciPy's `eigsh` on its operator, its density, and the smallest budget of XTrace that reaches
    `error`.
    """
    from curvlinops import (
        HessianLinearOperator,
        lanczos_approximate_spectrum,
        xtrace,
    )
    from scipy.sparse.linalg import LinearOperator, eigsh

    parameters = [p for p in model.parameters() if p.requires_grad]
    built, operator = timed(
        lambda: HessianLinearOperator(
            model,
            torch.nn.CrossEntropyLoss(),
            parameters,
            [(images, labels)],
            check_deterministic=False,
        )
    )
    vector = torch.randn(operator.shape[1])
    operator @ vector
    one = statistics.median(timed(lambda: operator @ vector)[0] for _ in range(5))
    counted = [0]

    def product(v: np.ndarray) -> np.ndarray:
        counted[0] += 1
        return (operator @ torch.as_tensor(v, dtype=torch.float32)).numpy()

    large = LinearOperator(operator.shape, matvec=product, dtype=np.float32)
    eigen_seconds, eigenvalues = timed(
        lambda: eigsh(large, k=1, which="LA", tol=1e-2, return_eigenvectors=False)
    )

    def trace(budget: int, seed: int) -> float:
        torch.manual_seed(seed)
        return float(xtrace(operator, budget))

    budgets = []
    for budget in XTRACE_BUDGETS:
        took, values = zip(*(timed(trace, budget, seed) for seed in range(seeds)), strict=True)
        found = rmse([value - truth for value in values])
        budgets.append({"matvecs": budget, "rmse": found, "seconds": statistics.median(took)})
        if found <= error:
            break
    reached = budgets[-1]
    density_seconds = SPECTRUM_STEPS * one
    return {
        "seconds_per_hvp": one,
        "build_seconds": built,
        "lambda_max": float(eigenvalues[0]),
        "lambda_max_hvps": counted[0],
        "lambda_max_seconds": eigen_seconds,
        "xtrace": budgets,
        "seeds": seeds,
        "reached_rmse": reached["rmse"] <= error,
        "density_hvps": SPECTRUM_STEPS,
        "density_function": lanczos_approximate_spectrum.__name__,
        "seconds": built + eigen_seconds + reached["seconds"] + density_seconds,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "curvature.json")
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    exact_numerics()
    # PyHessian's way; its graph is dropped below.
    warnings.filterwarnings("ignore", message="Using backward")
    model = load_model(Store(), RUN).model
    images, labels = images_of(options.images)
    found: dict[str, Any] = {"environment": environment(), "run": RUN, "images": options.images}
    found["certificate"] = certificate(model)
    found["hvp"] = [
        hvp_cost("preact_resnet_tiny", model.requires_grad_(True), 512),
        hvp_cost("preact_resnet_tiny4", models.build("preact_resnet_tiny4", 12, 3), 512),
        hvp_cost("preact_resnet18", models.build("preact_resnet18", 12, 3), 64, repeats=3),
    ]
    truth, stderr = reference_trace(Hessian(model, images, labels), probes=600)
    found["reference_trace"] = {"value": truth, "stderr": stderr, "probes": 600}
    found["ours"] = ours(model, images, labels, options.seeds, truth)
    error = found["ours"]["trace_rmse"]
    found["pyhessian"] = pyhessian(model, images, labels, error)
    found["curvlinops"] = curvlinops(model, images, labels, error, truth, options.seeds)
    for peer in ("pyhessian", "curvlinops"):
        found[f"times_less_than_{peer}"] = found[peer]["seconds"] / found["ours"]["seconds"]
    write(options.out, found)
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(finish(main))
