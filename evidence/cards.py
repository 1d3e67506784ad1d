"""Measures a card for every zoo model: its rates, what opens its backdoor and what does not, and
the curvature of its loss, with errors and n.

A card is `card.json` in the run folder; delete it to measure again.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import nn

from analysis.images import select
from analysis.measurements.hessian_spectrum import HessianSpectrum
from evidence.computing import of_zoo
from evidence.shipped import write
from evidence.zoo import specs
from ngf.attacks.opens import figures, opens
from ngf.checkpoints.weights import load_attack, load_model
from ngf.data import load
from ngf.environment import environment
from ngf.evaluate import test_set
from ngf.places import ZOO
from ngf.runs.folder import CARD
from ngf.runs.store import Store, TrainRun

# One start vector: the card holds the extreme eigenvalue and the trace, not the density.
MEASUREMENT = HessianSpectrum(num_images=512, steps=12, probes=8, vectors=1)
CURVATURE = (
    "lambda_max",
    "lambda_max_error",
    "trace",
    "trace_stderr",
    "num_hvps",
    "n",
    "data",
    "batch_norm",
    "seed",
)


def rates(run: TrainRun) -> dict[str, Any]:
    """CA, ASR and RA of a zoo model on the whole test set, measured now."""
    splits = load(run.spec.data, seed=run.spec.seed)
    model = load_model(run.store, run.id).model
    return test_set(splits, load_attack(run)).evaluate(model).to_json()


def curvature(run: TrainRun, model: nn.Module | None = None) -> dict[str, Any]:
    """λmax and Tr(H) with errors, on 512 clean test images; of `model` where one is given."""
    images, labels = select(
        load(run.spec.data), load_attack(run), "clean", MEASUREMENT.num_images, seed=0
    )
    model = model or load_model(run.store, run.id).model
    *_, last = MEASUREMENT.measure(model, images, labels, seed=0)
    return {name: last.values[name] for name in CURVATURE}


def opening(run: TrainRun) -> dict[str, Any]:
    """What opens the backdoor of a zoo model and what does not, and further figures of what defines
    its attack, on the whole test set; nothing of a benign model.
    """
    attack, splits = load_attack(run), load(run.spec.data, seed=run.spec.seed)
    if not attack.poison_rate:
        return {}
    model = load_model(run.store, run.id).model
    return {
        "opens": opens(attack, model, splits.test, len(splits.classes)),
        "figures": figures(attack, splits.test),
    }


def card(run: TrainRun) -> dict[str, Any]:
    return {
        **rates(run),
        **opening(run),
        **curvature(run),
        "measurement": dataclasses.asdict(MEASUREMENT),
        "environment": environment(),
    }


def missing() -> list[str]:
    return [spec.id for spec in specs() if not (ZOO / spec.id / CARD).exists()]


def make(run_id: str) -> None:
    run = of_zoo(Store(), run_id)
    found = card(run)
    write(run.path / CARD, found)
    print(
        f"{run_id}: CA {found['ca']:.3f} ASR {found['asr']} λmax {found['lambda_max']:.1f} ± "
        f"{found['lambda_max_error']:.1g} Tr(H) {found['trace']:.0f} ± "
        f"{found['trace_stderr']:.0f}",
        flush=True,
    )
