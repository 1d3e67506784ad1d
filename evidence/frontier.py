"""Measures what the table of methods rests on: every method on backdoored models, over learning
rates and layers.

One JSON file per model in assets/evidence/runs: every fine-tuning tried, with its accuracy on the
clean validation set (all that the rules may look at) and its CA, ASR and RA on the test set. Picks
of the rules are marked there. Layers are scored and picked, and rates picked, by the functions that
a purification itself runs. What was purified is kept for `evidence.sharpness`; delete a file to
measure its model again.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import nn

from evidence.computing import Failed, trained
from evidence.shipped import RUNS, write
from evidence.zoo import SEEDS
from ngf.catalogue import build
from ngf.checkpoints.weights import load_attack, load_model, save_weights
from ngf.config import Choice, TrainSpec
from ngf.data import load
from ngf.defenses.contract import Problem
from ngf.defenses.fine_tuning.choosing import begin, largest_harmless
from ngf.defenses.fine_tuning.events import LayerScore
from ngf.defenses.fine_tuning.layer_choice import fisher_traces, pick, score_layers
from ngf.defenses.fine_tuning.loop import few
from ngf.environment import environment
from ngf.evaluate import accuracy, test_set
from ngf.finite import Diverged
from ngf.models import flow
from ngf.places import runs_dir
from ngf.runs.store import Store, TrainRun

ATTACKS = ("badnets", "blend", "wanet")
OTHER_NETWORKS = ("preact_resnet_tiny4", "vgg_tiny")  # on which only the layer criteria are checked
NUM_CLEAN = 500
NUM_FRONTIER = 1000  # test images of each kind behind a point of the frontier
USABLE_DROP = 0.015  # clean accuracy that the best layer in hindsight may cost
Point = dict[str, Any]


def specs() -> list[TrainSpec]:
    """Models of the zoo on which every method is tried, then those on which only layers are."""
    return [TrainSpec(attack=Choice(attack), seed=seed) for attack in ATTACKS for seed in SEEDS] + [
        TrainSpec(model=network, attack=Choice(attack))
        for network in OTHER_NETWORKS
        for attack in ("badnets", "blend")
    ]


class Bench:
    """One backdoored model and what is needed to try defenses on it. `points` keeps every try."""

    def __init__(self, run: TrainRun, num_clean: int = NUM_CLEAN) -> None:
        spec = run.spec
        splits = load(spec.data, seed=spec.seed, num_clean=num_clean)
        self.model = load_model(run.store, run.id).model
        self.whole = test_set(splits, load_attack(run))
        self.part = self.whole.subset(NUM_FRONTIER)
        self.validation = splits.validation
        self.problem = Problem(
            model=self.model,
            clean=splits.clean,
            validation=self.validation,
            seed=spec.seed,
            survives_flip=splits.source.facts["survives_flip"],
        )
        self.start = accuracy(self.model, splits.validation)
        self.points: list[Point] = []

    def tune(self, method: str, layer: str, lr: float) -> tuple[Point, nn.Module]:
        """One whole fine-tuning. Raises Diverged, after its point was kept too."""
        defense = dataclasses.replace(build("defenses", Choice(method)), lr=lr)
        point: Point = {"method": method, "layer": layer, "lr": lr, "steps": defense.steps}
        self.points.append(point)
        started = time.monotonic()
        try:
            tuning = begin(defense, self.problem, layer, lr)
            for _ in tuning:
                pass
        except Diverged:
            point |= {"seconds": round(time.monotonic() - started, 2), "diverged": True}
            raise
        rates = self.part.evaluate(tuning.model)
        point |= {
            "seconds": round(time.monotonic() - started, 2),
            "distance": tuning.distance(),
            "validation": accuracy(tuning.model, self.validation),
            "diverged": False,
            "ca": rates.ca,
            "asr": rates.asr,
            "ra": rates.ra,
            "n": rates.n_clean,
        }
        return point, tuning.model

    def tune_each_layer(self) -> tuple[list[Point], dict[str, nn.Module]]:
        """NGF with its default rate on every layer in turn: points with what `fisher` and `auto`
        go by, and the tuned models by layer.
        """
        lr, models = build("defenses", Choice("ngf")).lr, {}

        def tune(layer: str) -> nn.Module:
            _, models[layer] = self.tune("ngf", layer, lr)
            return models[layer]

        p = self.problem
        traces = fisher_traces(p.model, p.clean.images, p.seed)
        before = len(self.points)
        tried = score_layers(p, lambda layer, _part: tune(layer), traces)
        scores = {found.layer: found.score for found in tried if isinstance(found, LayerScore)}
        points = [
            point | {"fisher_trace": traces[point["layer"]], "auto_score": scores[point["layer"]]}
            for point in self.points[before:]
            if point["layer"] in scores
        ]
        return points, models

    def tune_by_rule(self, method: str, layer: str) -> tuple[Point, nn.Module]:
        """All rates of a method's grid, largest first; the one that the rule picks. Raises
        `Failed` when that one diverges.
        """
        grid = build("defenses", Choice(method)).lr_grid
        models = {}
        for lr in grid:
            with suppress(Diverged):
                _, models[lr] = self.tune(method, layer, lr)
        points = {point["lr"]: point for point in self.points[-len(grid) :]}
        lr, _ = largest_harmless(tried(points.values()), self.start)
        if lr not in models:
            raise Failed(f"{method} diverges on {layer} at every rate that the rule may take.")
        points[lr]["picked"] = True
        return points[lr], models[lr]

    def finish(self, point: Point, model: nn.Module) -> Point:
        """A point with its rates on the whole test set."""
        return {**point, "whole": self.whole.evaluate(model).to_json()}


def tried(points: Iterable[Point]) -> Iterator[tuple[float, float | None]]:
    """What the learning-rate rule judges: rate, and clean validation accuracy unless it
    diverged.
    """
    for point in points:
        yield point["lr"], None if point["diverged"] else point["validation"]


def picked_layers(layers: list[Point], start_ca: float) -> dict[str, str]:
    """The layer that each criterion takes; the last one knows the trigger, as no defender does."""
    traces = {point["layer"]: point["fisher_trace"] for point in layers}
    best = min(layers, key=lambda point: (point["ca"] < start_ca - USABLE_DROP, point["asr"]))
    return {
        "ngf, auto layer": pick({point["layer"]: point["auto_score"] for point in layers}, traces),
        "ngf, fisher layer": max(traces, key=traces.__getitem__),
        "ngf, best layer in hindsight": best["layer"],
    }


def rivals(auto: str, last: str) -> dict[str, tuple[str, str]]:
    """What is compared at the rate that the rule picks: name -> method and layer."""
    return {
        "ngf, last layer": ("ngf", last),
        "ngf, auto layer, rate by rule": ("ngf", auto),
        "sgd, same layer": ("sgd", auto),
        "adam, same layer": ("adam", auto),
        "sgd, all layers": ("sgd", "all"),
        "adam, all layers": ("adam", "all"),
    }


def measured(run: TrainRun, *, layers_only: bool) -> tuple[dict[str, Any], dict[str, nn.Module]]:
    """Everything for one model, and the purified models behind its results."""
    bench = Bench(run)
    before = bench.whole.evaluate(bench.model).to_json()
    layers, models = bench.tune_each_layer()
    by_name = {point["layer"]: point for point in layers}
    picked = picked_layers(layers, bench.part.evaluate(bench.model).ca)
    found = {name: (by_name[layer], models[layer]) for name, layer in picked.items()}
    if not layers_only:
        named = rivals(picked["ngf, auto layer"], flow(bench.model, few(bench.problem.clean)).last)
        for name, (method, layer) in named.items():
            found[name] = bench.tune_by_rule(method, layer)
        released = build("defenses", Choice("ngf_as_released"))
        found["ngf as released"] = bench.tune("ngf_as_released", "all", released.lr)
    spec = run.spec
    return {
        "run": run.id,
        "data": spec.data,
        "model": spec.model,
        "attack": spec.attack.name,
        "seed": spec.seed,
        "num_clean": NUM_CLEAN,
        "validation_before": bench.start,
        "before": before,
        "layers": layers,
        "results": {name: bench.finish(*one) for name, one in found.items()},
        "points": bench.points,
        "environment": environment(),
    }, {name: model for name, (_, model) in found.items()}


def weights_path(run_id: str, result: str) -> Path:
    """Where the purified model behind a result is kept; it does not ship."""
    name = result.replace(", ", "-").replace(" ", "-")
    return runs_dir() / "evidence" / run_id / f"{name}.safetensors"


def missing() -> list[str]:
    return [spec.id for spec in specs() if not (RUNS / f"{spec.id}.json").exists()]


def make(run_id: str) -> None:
    spec = next(spec for spec in specs() if spec.id == run_id)
    run = trained(Store(), spec)
    found, models = measured(run, layers_only=spec.model in OTHER_NETWORKS)
    for name, model in models.items():
        path = weights_path(run_id, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_weights(model, path)
    write(RUNS / f"{run_id}.json", found)
    for name, result in found["results"].items():
        whole = result["whole"]
        print(
            f"{run_id}: {name:34s} {result['layer']:22s} lr {result['lr']:<6g} CA "
            f"{whole['ca']:.3f} ASR {whole['asr']:.3f} RA {whole['ra']:.3f} "
            f"{result['seconds']} s",
            flush=True,
        )
