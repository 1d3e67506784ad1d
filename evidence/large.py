"""The network of the paper, for a machine with a GPU: trained under every attack, purified, and
measured.

    python -m evidence.large [--only badnets,none] [--data signs] [--epochs 30] [--minutes 9]
    [--threads 4]

PreActResNet18 on 50,000 signs and on Fashion-MNIST: CA, ASR and RA, largest eigenvalue and trace of
the Hessian, before and after NGF, SGD and Adam. Each model gives one card in assets/evidence/large,
with hardware and versions; its weights stay where runs are kept. A card that is there is left
alone, and after `--minutes` no further model is started, so that the next call goes on with what is
missing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from analysis.images import select
from evidence.geometry import LANES, MEASURES, computed, purified, targets_of
from evidence.removal import RATES, row
from evidence.zoo import attacks
from ngf.catalogue import build
from ngf.checkpoints.weights import load_attack, load_model
from ngf.config import Choice, Training, TrainSpec
from ngf.data import load
from ngf.environment import environment, exact_numerics
from ngf.places import ASSETS
from ngf.runs.files import plain, write_atomic
from ngf.runs.store import Run, Store

OUT = ASSETS / "evidence" / "large"
NUM_IMAGES = 2_000  # that curvature is measured on
CURVATURE = ("lambda_max", "lambda_max_error", "trace", "trace_stderr", "n", "batch_norm")


def specs(epochs: int = 30) -> list[TrainSpec]:
    """Both data sets, benign first, then every attack with its defaults."""
    return [
        TrainSpec(
            data=data,
            model="preact_resnet18",
            attack=Choice(attack),
            training=Training(num_images=50_000, epochs=epochs),
        )
        for data in ("signs", "fashion_mnist")
        for attack in attacks()
    ]


def curvature(run: Run, targets: dict[str, str], num_images: int) -> dict[str, dict[str, Any]]:
    """λmax and Tr(H) with their errors on clean test images, of each of `targets` (a
    training, lanes of one).
    """
    splits = load(run.spec.data, seed=run.spec.seed, num_train=run.spec.training.num_images)
    images, labels = select(splits, load_attack(run), "clean", num_images, 0)
    spectrum = build(
        "measurements",
        Choice("hessian_spectrum", {**MEASURES["hessian_spectrum"], "num_images": num_images}),
    )
    found = {}
    for method, target in targets.items():
        *_, partial = spectrum.measure(load_model(run.store, target).model, images, labels, seed=0)
        found[method] = {name: partial.values[name] for name in CURVATURE}
    return found


def card(
    store: Store, spec: TrainSpec, lanes: tuple[Choice, ...] = LANES, num_images: int = NUM_IMAGES
) -> dict[str, Any]:
    """Train, purify, measure. Raises RuntimeError, with the run's own message, when a run fails."""
    started = time.perf_counter()
    run = computed(store, spec)
    found = {
        "run": run.id,
        "spec": spec.to_json(),
        "before": {name: run.result[name] for name in RATES},
        "after": {},
        "training_seconds": run.result["seconds"],
    }
    targets = {"before": run.id}
    if spec.attack.name != "none":
        purification = purified(store, run.id, lanes)
        found["after"] = row(run, purification)["after"]
        targets |= targets_of(purification)
    found["curvature"] = curvature(run, targets, num_images)
    return {**found, "seconds": time.perf_counter() - started, "environment": environment()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--only", default="", help="attacks, separated by commas; the default is all"
    )
    parser.add_argument("--data", default="", help="data set; the default is both")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="start no further model after this time"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    exact_numerics()
    options.out.mkdir(parents=True, exist_ok=True)
    store, started, wanted = (
        Store(),
        time.monotonic(),
        [name for name in options.only.split(",") if name],
    )
    failed = 0
    for spec in specs(options.epochs):
        path = options.out / f"{spec.id}.json"
        if (
            path.exists()
            or (wanted and spec.attack.name not in wanted)
            or options.data not in ("", spec.data)
        ):
            continue
        if time.monotonic() - started > 60 * options.minutes:
            print("Time is up; the next call goes on.", flush=True)
            break
        try:
            made = card(store, spec)
        except RuntimeError as error:  # one model that fails keeps nobody from the others
            failed += 1
            print(error, flush=True)
            continue
        write_atomic(path, json.dumps(plain(made), indent=1) + "\n")
        print(
            f"{spec.id}: CA {made['before']['ca']:.3f} ASR {made['before']['asr']}, λmax "
            f"{made['curvature']['before']['lambda_max']:.3g}, {made['seconds']:.0f} s",
            flush=True,
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
