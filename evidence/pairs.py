"""Walks out of two minima that fit clean images equally well, a backdoored and a benign one:
assets/evidence/pairs.json.

A network that fits its images less well is sharper for that alone. So each backdoored model of seed
0 is set beside the benign weights, of any epoch of any benign training whose folder is there, with
the clean loss that is nearest; and beside the benign model of the same seed as it came. Each walk
goes along the steepest eigenvector of the filter-scaled Hessian, over the same relative distance:
`LossSlice` with `direction` filter_eigenvectors and `distance` length, on the same test images.

    pairs   one for each attack. backdoored, matched, benign: a walk each
    walk    run, step, steps (epochs of the training), loss and loss_stderr at its center (nats),
            ca, curvature and curvature_error (eigenvalue; one lies within the error), distance and
            rise (nats above the center)
    ratio   curvature of the backdoored model divided by that of the matched one
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from torch import nn

from analysis import asking
from analysis.measurements.loss_slice import LossSlice
from analysis.model_under_test import evaluate, frozen_copy
from evidence.computing import Failed, of_zoo
from evidence.minima import NUM_IMAGES, Pictures, model_after, on_the_way
from evidence.shipped import PAIRS, read, write
from evidence.zoo import specs as zoo_specs
from ngf.checkpoints.weights import load_model
from ngf.config import TrainSpec
from ngf.environment import environment
from ngf.runs.folder import steps_at
from ngf.runs.store import Store

WALK = LossSlice(**asking.WALKS["steepest"], points=31)
DIGITS = 5
Walk = dict[str, Any]


def specs() -> list[TrainSpec]:
    return [
        spec
        for spec in zoo_specs()
        if spec.data == "signs" and spec.attack.name != "none" and spec.seed == 0
    ]


def done() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read(PAIRS)["pairs"] if PAIRS.exists() else []
    return found


def missing() -> list[str]:
    there = {pair["backdoored"]["run"] for pair in done()}
    return [spec.id for spec in specs() if spec.id not in there]


@functools.cache
def benign_losses() -> dict[tuple[TrainSpec, int], float]:
    """Clean loss after each epoch of a benign training on signs whose weights were kept, on the
    same images. Raises `Failed` where there is none.
    """
    found: dict[tuple[TrainSpec, int], float] = {}
    for spec in zoo_specs():
        if spec.data != "signs" or spec.attack.name != "none":
            continue
        x, y = Pictures(Store(), spec.id).take("test", NUM_IMAGES)
        for step in steps_at(on_the_way(spec.id)):
            found[spec, step] = evaluate(frozen_copy(model_after(spec, step), x, y), x, y).loss
    if not found:
        raise Failed(
            "No benign training has kept weights on its way: delete a benign model of the zoo and "
            "train it again with `python -m evidence zoo`."
        )
    return found


def nearest(loss: float) -> tuple[TrainSpec, int]:
    """The benign training and the epoch with the nearest clean loss, by its logarithm."""
    losses = benign_losses()
    return min(losses, key=lambda known: abs(np.log(losses[known]) - np.log(loss)))


def walk(store: Store, spec: TrainSpec, step: int, model: nn.Module) -> Walk:
    """Out of these weights; see the head of the module."""
    x, y = Pictures(store, spec.id).take("test", NUM_IMAGES)
    *_, last = WALK.measure(model, x, y, seed=0)
    values, arrays = last.values, last.arrays
    (loss,) = arrays["loss"]
    return {
        "run": spec.id,
        "attack": spec.attack.name,
        "seed": spec.seed,
        "step": step,
        "steps": spec.training.epochs,
        "n": len(x),
        "loss": values["loss"],
        "loss_stderr": values["loss_stderr"],
        "ca": values["ca"],
        "curvature": float(arrays["eigenvalues"][0]),
        "curvature_error": float(arrays["residuals"][0]),
        "distance": arrays["distance"].round(DIGITS).tolist(),
        "rise": (loss - values["loss"]).round(DIGITS).tolist(),
    }


def make(run_id: str) -> None:
    """The pair of one backdoored model."""
    store = Store()
    spec = of_zoo(store, run_id).spec
    last = spec.training.epochs
    backdoored = walk(store, spec, last, load_model(store, run_id).model)
    same_seed = next(
        other for other in zoo_specs() if other.attack.name == "none" and other.seed == spec.seed
    )
    matched = nearest(backdoored["loss"])
    found = {
        "backdoored": backdoored,
        "matched": walk(store, *matched, model_after(*matched)),
        "benign": walk(store, same_seed, last, load_model(store, same_seed.id).model),
    }
    ratio = found["backdoored"]["curvature"] / found["matched"]["curvature"]
    pairs = [*done(), {"attack": spec.attack.name, "ratio": round(ratio, 4), **found}]
    write(
        PAIRS,
        {
            "pairs": sorted(pairs, key=lambda pair: -pair["ratio"]),
            "environment": environment(),
        },
    )
    print(
        f"{run_id}: "
        + ", ".join(
            f"{name} loss {one['loss']:.4f}, curvature {one['curvature']:.1f}"
            for name, one in found.items()
        )
        + f"; ratio {ratio:.2f}",
        flush=True,
    )
