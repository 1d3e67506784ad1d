"""Measures a card for every zoo model: its rates, and the curvature of its loss, with errors and n.

A card is `card.json` in the run folder. Models that have one are left alone; delete it to measure
again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

import torch

from analysis.images import select
from analysis.measurements.hessian_spectrum import HessianSpectrum
from ngf.checkpoints.weights import load_attack, load_model
from ngf.data import load
from ngf.environment import environment, exact_numerics
from ngf.runs.folder import CARD
from ngf.runs.store import Run, Store
from ngf.training.run import test_set

# One start vector: the card holds the extreme eigenvalue and the trace, not the density.
MEASUREMENT = HessianSpectrum(num_images=512, steps=14, probes=22, vectors=1)
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


def rates(run: Run) -> dict:
    """CA, ASR and RA of a zoo model on the whole test set, measured now."""
    loaded = load_model(run.store, run.id)
    splits = load(loaded.train_spec.data, seed=loaded.train_spec.seed)
    return test_set(splits, load_attack(run)).evaluate(loaded.model).to_json()


def curvature(store: Store, run_id: str, model: torch.nn.Module | None = None) -> dict:
    """λmax and Tr(H) with errors, on 512 clean test images; of `model` where one is given."""
    loaded = load_model(store, run_id)
    images, labels = select(
        load(loaded.train_spec.data),
        load_attack(loaded.run),
        "clean",
        MEASUREMENT.num_images,
        seed=0,
    )
    *_, last = MEASUREMENT.measure(model or loaded.model, images, labels, seed=0)
    return {name: last.values[name] for name in CURVATURE}


def card(run: Run) -> dict:
    return {
        **rates(run),
        **curvature(run.store, run.id),
        "measurement": dataclasses.asdict(MEASUREMENT),
        "environment": environment(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    exact_numerics()
    for run in Store().runs():
        target: Path = run.path / CARD
        if run.source != "zoo" or target.exists() or options.only not in run.id:
            continue
        found = card(run)
        target.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(
            f"{run.id}: CA {found['ca']:.3f} ASR {found['asr']} λmax {found['lambda_max']:.1f} ± "
            f"{found['lambda_max_error']:.1g} Tr(H) {found['trace']:.0f} ± "
            f"{found['trace_stderr']:.0f}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
