"""Times of loss surfaces: the last layer in closed form, a plane of a whole network, and public
ways to draw it.

    python -m benchmarks.surfaces [--only NAME] [--repeats 5]
        [--out benchmarks/results/surfaces.json]

Peers: the loop of Li et al.'s code (`load_state_dict` and a DataLoader in batches of 128 for each
point), and loss-landscapes 3.0.6 (`pip install --no-deps -r requirements-bench.txt`), on a network
without BatchNorm because it divides by zero on a fresh one with it. Each repeat times all ways one
after the other; the ratio is the median over repeats, and the peers run with the number of threads,
1 or all, that is faster for them in that repeat.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from analysis.landscape.loss_at import LossAt
from analysis.landscape.planes import Plane, place, random_planes
from analysis.measurements.loss_plane import LossPlane
from analysis.model_under_test import frozen_copy
from benchmarks import RESULTS, write
from ngf.data import load, to_float
from ngf.environment import environment, exact_numerics
from ngf.models import build
from ngf.terminal import finish

NUM_IMAGES = 512


def seconds(work: Callable[..., object], *arguments: Any) -> float:
    """How long it takes."""
    started = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - started


def fastest(work: Callable[[], object]) -> float:
    """Seconds with one thread or with all, whichever is faster."""
    found, threads = [], torch.get_num_threads()
    for count in {1, threads}:
        torch.set_num_threads(count)
        found.append(seconds(work))
    torch.set_num_threads(threads)
    return min(found)


def signs() -> tuple[Tensor, Tensor]:
    test = load("signs").test.take(torch.arange(NUM_IMAGES))
    return to_float(test.images), test.labels


def prepared(
    model: nn.Module, images: Tensor, labels: Tensor, names: Collection[str] | None = None
) -> tuple[LossAt, Plane]:
    """A random plane of the parameters `names` (None for all), and what reads the loss on it."""
    frozen = frozen_copy(model, images, labels)
    names = [name for name, _ in frozen.named_parameters()] if names is None else names
    (plane,) = random_planes(frozen, torch.Generator().manual_seed(0), names, 1)
    return LossAt(frozen, images, labels, plane.moving), plane


def row(loss_at: LossAt, plane: Plane, axis: list[float], b: float) -> None:
    """Reads the loss on one row of a plane."""
    loss_at(plane.states, [place(a, b) for a in axis])


def rows(loss_at: LossAt, plane: Plane, axis: list[float]) -> None:
    """Reads the loss on all of a square plane."""
    for b in axis:
        row(loss_at, plane, axis, b)


def last_layer(repeats: int) -> dict[str, Any]:
    """51 x 51 points of the last layer (512 -> 10) of a ResNet-18, n = 500, with its preparation
    and without.
    """
    torch.manual_seed(0)
    # Features are computed once, so the layers before play no part.
    model = nn.Sequential(nn.Flatten(), nn.Linear(512, 10))
    images, labels = torch.randn(500, 512).relu(), torch.randint(0, 10, (500,))
    axis = torch.linspace(-0.5, 0.5, 51).tolist()
    whole, drawn = [], []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        loss_at, plane = prepared(model, images, labels)
        begun = time.perf_counter()
        rows(loss_at, plane, axis)
        drawn.append(time.perf_counter() - begun)
        whole.append(time.perf_counter() - started)
    return {
        "seconds": statistics.median(whole[1:]),
        "without_preparation": statistics.median(drawn[1:]),
        "fastest": min(whole[1:]),
        "points": 51 * 51,
        "images": 500,
        "classes": 10,
        "n": repeats,
    }


def last_layer_against_forward(repeats: int) -> dict[str, Any]:
    """A point on a plane of the last layer of preact_resnet_tiny in closed form, and by a forward
    pass.
    """
    model, (images, labels) = build("preact_resnet_tiny", 12), signs()
    loss_at, plane = prepared(model, images, labels, ["linear.weight", "linear.bias"])
    axis = torch.linspace(-0.5, 0.5, 51).tolist()
    frozen = frozen_copy(model, images, labels)

    def forward() -> None:
        with torch.inference_mode():
            for x in images.split(128):
                frozen(x)

    ours, theirs = [], []
    for _ in range(repeats + 1):
        ours.append(seconds(rows, loss_at, plane, axis) / len(axis) ** 2)
        theirs.append(fastest(forward))
    return summary(ours[1:], theirs[1:], "forward")


def network(repeats: int) -> dict[str, Any]:
    """One row (41 points) of a plane of all of preact_resnet_tiny, 512 signs, against Li et al.'s
    loop.
    """
    model, (images, labels) = build("preact_resnet_tiny", 12).eval(), signs()
    loss_at, plane = prepared(model, images, labels)
    axis = torch.linspace(-0.5, 0.5, 41).tolist()
    loader = DataLoader(TensorDataset(images, labels), batch_size=128)
    net = copy.deepcopy(model)

    def loop(points: int = 6) -> None:
        for a in axis[:points]:
            state = copy.deepcopy(model.state_dict())
            for name in plane.moving:
                state[name] = state[name] + a * plane.states[1][name] + 0.1 * plane.states[2][name]
            net.load_state_dict(state)
            with torch.no_grad():
                for x, y in loader:
                    logits = net(x)
                    nn.functional.cross_entropy(logits, y).item()
                    (logits.argmax(1) == y).sum().item()

    ours, theirs = [], []
    for _ in range(repeats + 1):
        ours.append(seconds(row, loss_at, plane, axis, 0.1) / len(axis))
        theirs.append(fastest(loop) / 6)
    return summary(ours[1:], theirs[1:], "goldstein_loop")


def plane(_: int) -> dict[str, Any]:
    """Seconds of a whole measurement, 21 x 21: to the first picture, to 11 x 11, to the end."""
    model, (images, labels) = build("preact_resnet_tiny", 12), signs()
    started = time.perf_counter()
    first: float | None = None
    coarse: float | None = None
    for partial in LossPlane(points=21).measure(model, images, labels, seed=0):
        now = time.perf_counter() - started
        first = first or now
        if coarse is None and partial.arrays["known"].sum() >= 121:
            coarse = now
    return {
        "first_picture_seconds": first,
        "coarse_seconds": coarse,
        "seconds": now,
        "points": 21 * 21,
        "images": NUM_IMAGES,
        "n": 1,
    }


def frozen_part(repeats: int) -> dict[str, Any]:
    """A point when only stage3 moves, against all of preact_resnet_tiny, both by this project."""
    model, (images, labels) = build("preact_resnet_tiny", 12), signs()
    names = [name for name, _ in model.named_parameters() if name.startswith(("stage3", "linear"))]
    some, all_ = prepared(model, images, labels, names), prepared(model, images, labels)
    axis = [0.01 * k for k in range(8)]
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(repeats + 1):
        for (loss_at, spanned), into in ((some, ours), (all_, theirs)):
            into.append(seconds(row, loss_at, spanned, axis, 0.1) / len(axis))
    return summary(ours[1:], theirs[1:], "whole_network")


def loss_landscapes(repeats: int) -> dict[str, Any]:
    """11 x 11 of a convolutional network without BatchNorm, 512 signs, against loss-landscapes
    3.0.6.
    """
    try:
        random_plane = importlib.import_module("loss_landscapes").random_plane
        metrics = importlib.import_module("loss_landscapes.metrics.sl_metrics")
    except ImportError:
        raise SystemExit(
            "loss-landscapes is missing: pip install --no-deps -r requirements-bench.txt"
        ) from None
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inside, outside in ((3, 16), (16, 32), (32, 64)):
        layers += [
            nn.Conv2d(inside, outside, 3, 2, padding=1),
            nn.ReLU(),
            nn.Conv2d(outside, outside, 3, padding=1),
            nn.ReLU(),
        ]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 12)).eval()
    images, labels = signs()
    axis = torch.linspace(-0.5, 0.5, 11).tolist()
    metric = metrics.Loss(nn.functional.cross_entropy, images, labels)
    ours, theirs = [], []
    for _ in range(repeats + 1):
        ours.append(seconds(lambda: rows(*prepared(model, images, labels), axis)) / 121)
        theirs.append(
            fastest(lambda: random_plane(model, metric, distance=1, steps=11, deepcopy_model=True))
            / 121
        )
    return summary(ours[1:], theirs[1:], "loss_landscapes")


def summary(ours: list[float], theirs: list[float], peer: str) -> dict[str, Any]:
    """Medians of the seconds per point, and the median of their ratios."""
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    return {
        "seconds_a_point": statistics.median(ours),
        f"{peer}_seconds_a_point": statistics.median(theirs),
        "ratio": statistics.median(ratios),
        "all_ratios": ratios,
        "images": NUM_IMAGES,
        "n": len(ratios),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "surfaces.json")
    parser.add_argument("--only", default="")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    exact_numerics()
    parts = {
        "last_layer": last_layer,
        "last_layer_against_forward": last_layer_against_forward,
        "network": network,
        "frozen_part": frozen_part,
        "plane": plane,
        "loss_landscapes": loss_landscapes,
    }
    found: dict[str, Any] = {"environment": environment(), "load_before": os.getloadavg()[0]}
    for name, measure in parts.items():
        if options.only in name:
            found[name] = measure(options.repeats)
            print(name, json.dumps(found[name]), flush=True)
            write(options.out, found)
    return 0


if __name__ == "__main__":
    sys.exit(finish(main))
