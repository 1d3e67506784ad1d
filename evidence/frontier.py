"""Measures the project's table: every method on backdoored zoo models, over learning rates and
layers.

    python -m evidence.frontier RUN [RUN ...] [--threads 1]

For each run one JSON file in assets/evidence/runs: every fine-tuning tried, with its accuracy on
the clean validation set (all that the rules may look at) and its CA, ASR and RA on the test set.
Picks of the rules are marked there; `evidence/claims.py` makes the table and the sentences from
these files.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path

import torch

from ngf.catalogue import build
from ngf.checkpoints.weights import load_attack, load_model, save_weights
from ngf.config import Choice
from ngf.data import load, to_float
from ngf.defenses.fine_tuning.choosing import TOLERATED_DROP, Problem, begin
from ngf.defenses.fine_tuning.layer_choice import (
    PROBE_TOLERANCE,
    fisher_traces,
    highest_success,
    pick,
    universal_perturbations,
)
from ngf.environment import environment, exact_numerics
from ngf.evaluate import TestSet, accuracy
from ngf.models import last_layer, tunable_layers
from ngf.places import ASSETS
from ngf.runs.store import Store
from ngf.training.loop import Diverged
from ngf.training.run import test_set

OUT = ASSETS / "evidence" / "runs"
NUM_FRONTIER = 1000  # test images of each kind behind a point of the frontier


class Bench:
    """One backdoored model and what is needed to try defenses on it."""

    def __init__(self, store: Store, run_id: str, num_clean: int) -> None:
        self.loaded = load_model(store, run_id)
        spec = self.loaded.train_spec
        splits = load(spec.data, seed=spec.seed, num_clean=num_clean)
        self.whole = test_set(splits, load_attack(store.get(run_id)))
        self.part: TestSet = self.whole.subset(NUM_FRONTIER)
        self.problem = Problem(
            self.loaded.model,
            splits.clean,
            splits.validation,
            spec.seed,
            splits.source.facts["survives_flip"],
        )
        self.start = accuracy(self.loaded.model, splits.validation)
        self.points: list[dict] = []

    def tune(self, method: str, layer: str, lr: float) -> tuple[dict, torch.nn.Module | None]:
        """One fine-tuning; its point is kept."""
        defense = dataclasses.replace(build("defenses", Choice(method)), lr=lr)
        point = {"method": method, "layer": layer, "lr": lr, "steps": defense.steps}
        started = time.monotonic()
        model = None
        try:
            tuning = begin(defense, self.problem, layer, lr)
            for _ in tuning:
                pass
            model = tuning.model
            rates = self.part.evaluate(model)
            point |= {
                "seconds": round(time.monotonic() - started, 2),
                "distance": tuning.distance(),
                "validation": accuracy(model, self.problem.validation),
                "diverged": False,
                "ca": rates.ca,
                "asr": rates.asr,
                "ra": rates.ra,
                "n": rates.n_clean,
            }
        except Diverged:
            point |= {"seconds": round(time.monotonic() - started, 2), "diverged": True}
        self.points.append(point)
        return point, model

    def sweep(self, method: str, layer: str) -> tuple[dict, torch.nn.Module]:
        """All rates of a method's grid, largest first; the rule's pick, measured on the whole
        test set.
        """
        picked = None
        for lr in type(build("defenses", Choice(method))).lr_grid:
            point, model = self.tune(method, layer, lr)
            harmless = model is not None and point["validation"] >= self.start - TOLERATED_DROP
            if model is not None and (harmless and not (picked and picked[2]) or picked is None):
                picked = (point, model, harmless)
        point, model, _ = picked
        point["picked"] = True
        return self.finish(point, model), model

    def finish(self, point: dict, model: torch.nn.Module) -> dict:
        return {**point, "whole": self.whole.evaluate(model).to_json()}


def evidence(store: Store, run_id: str, num_clean: int, models: Path, layers_only: bool) -> dict:
    """Everything for one model; purified models are kept in `models` for the curvature
    measurements.

    layers_only: compare the layers only, as for the networks on which the layer criteria are
    checked.
    """
    bench = Bench(store, run_id, num_clean)
    problem, layers = bench.problem, tunable_layers(bench.loaded.model)
    before = bench.whole.evaluate(bench.loaded.model).to_json()
    start_ca = bench.part.evaluate(bench.loaded.model).ca

    images, labels = to_float(problem.clean.images[:200]), problem.clean.labels[:200]
    network = bench.loaded.model.eval().requires_grad_(False)
    with torch.no_grad():
        num_classes = network(images[:1]).shape[1]
    changes = universal_perturbations(network, images, num_classes, problem.seed)
    traces = fisher_traces(bench.loaded.model, problem.clean.images, problem.seed)
    default_lr = build("defenses", Choice("ngf")).lr
    sweep = []
    for name in layers:
        point, model = bench.tune("ngf", name, default_lr)
        success = highest_success(model, images, labels, changes)
        kept = point["validation"] >= bench.start - PROBE_TOLERANCE
        sweep.append(
            (
                point | {"fisher_trace": traces[name], "auto_score": 1 - success if kept else 0.0},
                model,
            )
        )
    auto = pick({point["layer"]: point["auto_score"] for point, _ in sweep}, traces)
    picks = {
        "ngf, auto layer": next(item for item in sweep if item[0]["layer"] == auto),
        "ngf, fisher layer": max(sweep, key=lambda item: item[0]["fisher_trace"]),
        "ngf, best layer in hindsight": min(sweep, key=lambda item: hindsight(item[0], start_ca)),
    }
    results = {name: bench.finish(*item) for name, item in picks.items()}
    keep = {name: model for name, (_, model) in picks.items()}
    layer = results["ngf, auto layer"]["layer"]
    rivals = (
        ()
        if layers_only
        else (
            ("ngf, last layer", "ngf", last_layer(bench.loaded.model)),
            ("ngf, auto layer, rate by rule", "ngf", layer),
            ("sgd, same layer", "sgd", layer),
            ("adam, same layer", "adam", layer),
            ("sgd, all layers", "sgd", "all"),
            ("adam, all layers", "adam", "all"),
        )
    )
    for name, method, where in rivals:
        results[name], keep[name] = bench.sweep(method, where)
    if not layers_only:
        released, model = bench.tune(
            "ngf_as_released", "all", build("defenses", Choice("ngf_as_released")).lr
        )
        results["ngf as released"], keep["ngf as released"] = bench.finish(released, model), model
    for name, model in keep.items():
        target = models / run_id / f"{name.replace(', ', '-').replace(' ', '-')}.safetensors"
        target.parent.mkdir(parents=True, exist_ok=True)
        save_weights(model, target)
    spec = bench.loaded.train_spec
    return {
        "run": run_id,
        "data": spec.data,
        "model": spec.model,
        "attack": spec.attack.name,
        "seed": spec.seed,
        "num_clean": num_clean,
        "validation_before": bench.start,
        "before": before,
        "layers": [point for point, _ in sweep],
        "results": results,
        "points": bench.points,
        "environment": environment(),
    }


def hindsight(point: dict, start_ca: float) -> tuple[bool, float]:
    """Best layer in hindsight: lowest ASR among those within 1.5 points of the clean accuracy
    before.

    Both accuracies on the same test images.
    """
    return (point["ca"] < start_ca - 0.015, point["asr"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--layers-only", action="store_true")
    parser.add_argument("--num-clean", type=int, default=500)
    parser.add_argument("--models", type=Path, default=Path("runs/evidence"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    exact_numerics()
    OUT.mkdir(parents=True, exist_ok=True)
    for run_id in options.runs:
        target = OUT / f"{run_id}.json"
        if target.exists():
            continue
        found = evidence(Store(), run_id, options.num_clean, options.models, options.layers_only)
        target.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        for name, result in found["results"].items():
            whole = result["whole"]
            print(
                f"{run_id}: {name:34s} {result['layer']:22s} lr {result['lr']:<6g} CA "
                f"{whole['ca']:.3f} ASR {whole['asr']:.3f} RA {whole['ra']:.3f} "
                f"{result['seconds']} s",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
