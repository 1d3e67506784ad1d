"""One device against the CPU of the same machine, in one run: 100 NGF steps with the live rates
between them, an epoch of training, and curvature, which is held against PyHessian as well.

    python -m benchmarks.device --device cuda [--model preact_resnet18] [--out ...]
    make bench DEVICE=cuda

Weights are untrained and images are noise or drawn signs: of what is timed only the number of
trials for the length of a step depends on them, and it is counted. The CPU does a share of the
steps and is given per step.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from analysis.measurements.hessian_spectrum import HessianSpectrum
from benchmarks import RESULTS, write
from benchmarks.training_speed import CLASSES, SIZE, ours
from ngf import models
from ngf.attacks.badnets import BadNets
from ngf.config import NUM_LIVE, Training
from ngf.data import Images, load
from ngf.defenses.contract import Problem, Step
from ngf.defenses.ngf import NGF
from ngf.defenses.race import LiveRates
from ngf.environment import environment, exact_numerics
from ngf.evaluate import test_set
from ngf.terminal import finish

EPOCH = 50_000  # images, as CIFAR-10 has
LAYERS = {"preact_resnet18": "stage4.block2.conv2", "preact_resnet_tiny": "stage3.block1.conv2"}
CPU_SHARE = 20  # the CPU does a twentieth of the steps


def seconds(work: Callable[[], Any], where: torch.device) -> tuple[float, Any]:
    """How long it takes until the device has done it, and what it gives."""
    _wait(where)
    started = time.perf_counter()
    found = work()
    _wait(where)
    return time.perf_counter() - started, found


def _wait(where: torch.device) -> None:
    if where.type == "cuda":
        torch.cuda.synchronize(where)


def network(name: str, where: torch.device) -> nn.Module:
    torch.manual_seed(0)
    return models.build(name, 12).to(where).eval()


def purification(name: str, where: torch.device, steps: int) -> dict[str, Any]:
    """NGF on one convolution with 500 clean images, and the rates after each step, as in a race."""
    splits = load("signs", num_clean=500)
    live = LiveRates(test_set(splits, BadNets(), NUM_LIVE).to(where))
    problem = Problem(network(name, where), splits.clean.to(where), None)

    def run() -> int:
        measured = 0
        defense = NGF(layer=LAYERS[name], steps=steps).purify(problem)
        for event in defense:
            if isinstance(event, Step):
                measured += bool(live.after(event, defense.model))
        return measured

    run()  # kernels are chosen, memory is taken
    took, measured = seconds(run, where)
    return {
        "steps": steps,
        "measured_after": measured,
        "seconds": took,
        "seconds_per_step": took / steps,
    }


def epoch(name: str, where: torch.device, steps: int) -> dict[str, Any]:
    """Training of 50,000 images, from the speed over some steps."""
    settings = Training(epochs=1000, lr=0.01)
    count = settings.batch_size * (steps + 2)
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, SIZE, SIZE), generator=rng, dtype=torch.uint8)
    data = Images(images, torch.arange(count) % CLASSES).to(where)
    speed = ours(name, data, settings, steps)
    return {
        "batch_size": settings.batch_size,
        "images_per_second": speed,
        "epoch_seconds": EPOCH / speed,
    }


def curvature(name: str, where: torch.device, count: int) -> dict[str, Any]:
    """Largest eigenvalue, trace and density by the default options; PyHessian's products, in turn
    with ours.
    """
    model, rng = network(name, where), torch.Generator().manual_seed(0)
    images = torch.rand((count, 3, SIZE, SIZE), generator=rng).to(where)
    labels = (torch.arange(count) % 12).to(where)

    def measure() -> Any:
        *_, partial = HessianSpectrum().measure(model, images, labels, seed=0)
        return partial.values["num_hvps"]

    took, products = seconds(measure, where)
    return {
        "images": count,
        "seconds": took,
        "hvps": products,
        "seconds_per_hvp": took / products,
        "pyhessian_seconds_per_hvp": pyhessian_product(model, images, labels),
    }


def pyhessian_product(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, probes: int = 20
) -> float:
    """Seconds of one of its Hessian-vector products, the median of three times 20."""
    import pyhessian.hessian  # noqa: F401 - the package's attribute of this name is a class

    model.requires_grad_(True)
    theirs = sys.modules["pyhessian.hessian"].hessian(
        model, F.cross_entropy, data=(images, labels), cuda=images.is_cuda
    )
    times = [
        seconds(lambda: theirs.trace(maxIter=probes, tol=-1.0), images.device)[0] for _ in range(3)
    ]
    for parameter in model.parameters():
        parameter.grad = None
    return statistics.median(times) / probes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--model", default="preact_resnet18", choices=LAYERS)
    parser.add_argument("--steps", type=int, default=100, help="of NGF")
    parser.add_argument("--images", type=int, default=500, help="that curvature is measured on")
    parser.add_argument("--out", type=Path, default=RESULTS / "device.json")
    options = parser.parse_args()
    exact_numerics()
    # PyHessian's way; its graph is dropped.
    warnings.filterwarnings("ignore", message="Using backward")
    where, cpu = torch.device(options.device), torch.device("cpu")
    found: dict[str, Any] = {"environment": environment(), "model": options.model}
    parts: dict[str, Callable[[torch.device, int], dict[str, Any]]] = {
        "purification": lambda at, share: purification(
            options.model, at, max(5, options.steps // share)
        ),
        "training": lambda at, share: epoch(options.model, at, max(3, 200 // share)),
        "curvature": lambda at, share: curvature(
            options.model, at, max(25, options.images // share)
        ),
    }
    for name, measure in parts.items():
        found[name] = {str(where): measure(where, 1), "cpu": measure(cpu, CPU_SHARE)}
        print(name, json.dumps(found[name]), flush=True)
        write(options.out, found)


if __name__ == "__main__":
    finish(main)
