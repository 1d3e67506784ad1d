"""Times of runs: training, NGF on a convolution, from a submission to the first point, from a kill
to running again; of evaluating 500 images; and the exact natural gradient step against dense
Cholesky.

    python -m benchmarks.speed [--only exact_step] [--out benchmarks/results/speed.json]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import RESULTS, write
from ngf import models
from ngf.checkpoints.weights import load_model
from ngf.config import Choice, PurifySpec, Training, TrainSpec
from ngf.data import load, to_float
from ngf.environment import environment, exact_numerics
from ngf.optim.natural_gradient import SoftmaxFisher, solve, with_ones
from ngf.places import child_environment
from ngf.predictions import Predict, predict, predict_quickly
from ngf.runs.child import execute
from ngf.runs.folder import FINAL, LOCK
from ngf.runs.store import Run, Store
from ngf.terminal import finish

PARENT = TrainSpec(attack=Choice("badnets")).id


def median_time(work: Callable[[], object], repeats: int) -> float:
    work()  # the first call pays for memory
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def exact_step(repeats: int = 15) -> dict[str, Any]:
    """One damped natural gradient of a 512 -> 10 softmax layer at n = 500: PCG against dense
    Cholesky.
    """
    rng = torch.Generator().manual_seed(0)
    features = with_ones(torch.randn(500, 512, generator=rng).relu())
    weights = 0.05 * torch.randn(10, 513, generator=rng)
    labels = torch.randint(0, 10, (500,), generator=rng)
    p = (features @ weights.T).softmax(1)
    gradient = (p - F.one_hot(labels, 10)).T @ features / 500
    damping = 1e-3

    def dense() -> torch.Tensor:
        root = (
            torch.einsum("nc,cd->ncd", p.sqrt(), torch.eye(10))
            - p[:, :, None] * p.sqrt()[:, None, :]
        )
        rows = torch.einsum("nck,nd->nkcd", root, features).reshape(500 * 10, -1)
        matrix = rows.T @ rows / 500
        matrix.diagonal().add_(damping)
        return torch.cholesky_solve(gradient.reshape(-1, 1), torch.linalg.cholesky(matrix))[:, 0]

    def matrix_free() -> torch.Tensor:
        return solve(SoftmaxFisher(features, p), gradient, damping=damping).value.flatten()

    exact, found = dense(), matrix_free()
    slow, fast = median_time(dense, 3), median_time(matrix_free, repeats)
    return {
        "dense_seconds": slow,
        "pcg_seconds": fast,
        "ratio": slow / fast,
        "relative_difference": ((exact - found).norm() / exact.norm()).item(),
        "n": [3, repeats],
    }


def evaluation(repeats: int = 15) -> dict[str, Any]:
    """500 images: in float32 at once, in float32 as tables are made, and as live curves are made.

    Weights are those of the zoo for the tiny network, untrained for ResNet-18.
    """
    splits = load("signs")
    images = splits.test.images[:500]
    networks = {
        "preact_resnet_tiny": (load_model(Store(), PARENT).model, repeats),
        "resnet18": (models.build("resnet18", len(splits.classes)), 3),
    }

    @torch.no_grad()
    def at_once(model: nn.Module, images: Tensor) -> Tensor:
        return model.eval()(to_float(images)).argmax(1)

    ways: dict[str, Predict] = {
        "at_once": at_once,
        "float32": predict,
        "live": predict_quickly,
    }
    found: dict[str, Any] = {}
    for name, (model, times) in networks.items():
        took: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(times + 1):
            for way, how in ways.items():
                started = time.perf_counter()
                how(model, images)
                took[way].append(time.perf_counter() - started)
        first = took["at_once"][1:]
        agree = predict(model, images) == predict_quickly(model, images)
        found[name] = {
            "seconds": {way: statistics.median(values[1:]) for way, values in took.items()},
            "ratio": {
                way: statistics.median(a / b for a, b in zip(first, values[1:], strict=True))
                for way, values in took.items()
            },
            "agreement": agree.float().mean().item(),
            "images": len(images),
            "n": times,
        }
    return found


def training() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        run = Store(Path(folder)).submit(
            TrainSpec(attack=Choice("badnets"), training=Training(), seed=90)
        )
        execute(run)
        result = run.finished()
        return {
            "seconds": result["seconds"],
            "images": 10_000,
            "epochs": 20,
            "ca": result["ca"],
            "asr": result["asr"],
            "n": 1,
        }


def purification(repeats: int = 5) -> dict[str, Any]:
    """NGF on one convolution, 100 steps, as a run: all steps and live measuring, and the
    whole test set.
    """
    whole, steps = [], []
    for seed in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            lane = Choice("ngf", {"layer": "stage2.block1.conv2"})
            run = Store(Path(folder)).submit(PurifySpec(parent=PARENT, lanes=(lane,), seed=seed))
            started = time.perf_counter()
            execute(run)
            whole.append(time.perf_counter() - started)
            events = [event for event in run.events() if event["type"] == "step"]
            steps.append(events[-1]["t"] - events[0]["t"])
    return {
        "steps_and_live_measuring_seconds": statistics.median(steps),
        "whole_run_seconds": statistics.median(whole),
        "all_whole_runs": whole,
        "n": repeats,
    }


def wait_for(found: Callable[[], object], seconds: float = 60) -> float:
    started = time.perf_counter()
    while not found():
        if time.perf_counter() - started > seconds:
            raise TimeoutError("nothing happened")
        time.sleep(0.005)
    return time.perf_counter() - started


def _events(run: Run, kind: str) -> int:
    return sum(event["type"] == kind for event in run.events())


def start_and_recovery(run: Run, moment: float) -> tuple[float, float]:
    """Seconds to the first point of a run that was just submitted; then, of a child that is killed
    `moment` seconds later, to running again. The run is cancelled after that.
    """
    first = wait_for(lambda: _events(run, "step"))
    time.sleep(moment)
    holder = json.loads((run.path / LOCK).read_text(encoding="utf-8"))["pid"]
    attempts = run.attempts
    os.kill(holder, signal.SIGKILL)
    again = wait_for(lambda: run.attempts > attempts and run.status == "running")
    run.control("cancel")
    wait_for(lambda: run.status in FINAL)
    return first, again


def warm_start_and_recovery(moments: tuple[float, ...] = (1, 3, 5, 7, 9)) -> dict[str, Any]:
    """Submit to first point, and kill -9 of the child to running again, with a real supervisor and
    pipeline.

    `moments`: seconds after the first point at which the child is killed. In the first few the next
    child is still importing torch.
    """
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "ngf.runs.supervisor", "--root", folder],
            env=child_environment(),
        )
        try:
            time.sleep(12)  # the spare children import torch; a user reads the page meanwhile
            for seed, moment in enumerate(moments):
                lane = Choice("ngf", {"layer": "stage2.block1.conv2", "steps": 1000})
                run = store.submit(PurifySpec(parent=PARENT, lanes=(lane,), seed=seed))
                measured.append(start_and_recovery(run, moment))
                time.sleep(8)
        finally:
            supervisor.terminate()
            supervisor.wait()
    first, again = ([pair[k] for pair in measured] for k in (0, 1))
    return {
        "submit_to_first_point_seconds": statistics.median(first),
        "all_first": first,
        "kill_to_running_seconds": statistics.median(again),
        "all_again": again,
        "killed_after_seconds": moments,
        "n": len(moments),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "speed.json")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    exact_numerics()
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "exact_step": exact_step,
        "evaluation": evaluation,
        "purification": purification,
        "warm_start_and_recovery": warm_start_and_recovery,
        "training": training,
    }
    found: dict[str, Any] = {"environment": environment()}
    for name, measure in parts.items():
        if options.only in name:
            found[name] = measure()
            print(name, json.dumps(found[name]), flush=True)
    write(options.out, found)
    return 0


if __name__ == "__main__":
    sys.exit(finish(main))
