"""The network of the paper, for a machine with a GPU: trained under every attack, purified, and
measured.

PreActResNet18 on 50,000 signs and on Fashion-MNIST: CA, ASR and RA, largest eigenvalue and trace of
the Hessian, before and after NGF, SGD and Adam. Each model gives one card in assets/evidence/large,
with hardware and versions; its weights stay where runs are kept.
"""

from __future__ import annotations

import time
from typing import Any

from analysis.images import select
from evidence.computing import LANES, purified, targets_of, trained
from evidence.purification import RATES
from evidence.shipped import LARGE, write
from evidence.zoo import attacks
from ngf.catalogue import build
from ngf.checkpoints.weights import load_attack, load_model
from ngf.config import Choice, Training, TrainSpec
from ngf.data import load
from ngf.environment import environment
from ngf.runs.store import Store, TrainRun

TRAINING = Training(num_images=50_000, epochs=30)
NUM_IMAGES = 2000
# Enough for an eigenvalue certified to about 1 % and a trace to about 4 %.
SPECTRUM = {"steps": 8, "vectors": 1, "probes": 6}
CURVATURE = ("lambda_max", "lambda_max_error", "trace", "trace_stderr", "n", "batch_norm")


def specs() -> list[TrainSpec]:
    """Both data sets, benign first, then every attack with its defaults."""
    return [
        TrainSpec(data=data, model="preact_resnet18", attack=Choice(attack), training=TRAINING)
        for data in ("signs", "fashion_mnist")
        for attack in attacks()
    ]


def curvature(run: TrainRun, targets: dict[str, str], num_images: int) -> dict[str, dict[str, Any]]:
    """λmax and Tr(H) with their errors on clean test images, of each of `targets` (a
    training, lanes of one).
    """
    splits = load(run.spec.data, seed=run.spec.seed, num_train=run.spec.training.num_images)
    images, labels = select(splits, load_attack(run), "clean", num_images, 0)
    options = {**SPECTRUM, "num_images": num_images}
    spectrum = build("measurements", Choice("hessian_spectrum", options))
    found = {}
    for method, target in targets.items():
        *_, partial = spectrum.measure(load_model(run.store, target).model, images, labels, seed=0)
        found[method] = {name: partial.values[name] for name in CURVATURE}
    return found


def card(
    store: Store, spec: TrainSpec, lanes: tuple[Choice, ...] = LANES, num_images: int = NUM_IMAGES
) -> dict[str, Any]:
    """Train, purify, measure. Raises `Failed`, with the run's own message, when a run fails."""
    started = time.perf_counter()
    run = trained(store, spec)
    result = run.finished()
    found = {
        "run": run.id,
        "spec": spec.to_json(),
        "before": {name: result[name] for name in RATES},
        "after": {},
        "training_seconds": result["seconds"],
    }
    targets = {"before": run.id}
    if spec.attack.name != "none":
        purification = purified(store, run.id, lanes)
        found["after"] = {
            lane: {"layer": of["layer"], **{name: of["after"][name] for name in RATES}}
            for lane, of in purification.finished()["lanes"].items()
        }
        targets |= targets_of(purification)
    found["curvature"] = curvature(run, targets, num_images)
    return {**found, "seconds": time.perf_counter() - started, "environment": environment()}


def missing() -> list[str]:
    return [spec.id for spec in specs() if not (LARGE / f"{spec.id}.json").exists()]


def make(run_id: str) -> None:
    made = card(Store(), next(spec for spec in specs() if spec.id == run_id))
    write(LARGE / f"{run_id}.json", made)
    print(
        f"{run_id}: CA {made['before']['ca']:.3f} ASR {made['before']['asr']}, λmax "
        f"{made['curvature']['before']['lambda_max']:.3g}, {made['seconds']:.0f} s",
        flush=True,
    )
