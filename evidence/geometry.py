"""Sharpness of the zoo, before and after purification: are backdoored minima sharper, and purified
ones smoother?

One file per model in assets/evidence/geometry: the measures for the model itself and for what NGF,
SGD and Adam (the Lab's defaults, 500 clean images, 100 steps) make of it, on clean and, for some
attacks, on triggered images. A measure that is there already is not measured again.
`evidence.geometry_table` makes the table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analysis.images import select
from evidence.computing import LANES, of_zoo, purified, targets_of
from evidence.shipped import GEOMETRY, read, write
from evidence.zoo import SEEDS, specs
from ngf.catalogue import build
from ngf.checkpoints.weights import load_attack, load_model
from ngf.config import Choice, TrainSpec
from ngf.data import load
from ngf.environment import environment
from ngf.runs.store import Store

NUM_IMAGES = 2000
# Enough for an eigenvalue certified to about 1 % and a trace to about 4 %.
MEASUREMENTS = {
    "hessian_spectrum": {"steps": 8, "vectors": 1, "probes": 6},
    "fisher_trace": {"draws": 5},
    "sharpness": {"steps": 5, "probes": 2, "draws": 5},
}
TRIGGERED_OF = ("badnets", "blend", "wanet", "sig")  # attacks measured on triggered images too
ON_TRIGGERED = ("hessian_spectrum", "fisher_trace")


def planned(spec: TrainSpec) -> list[tuple[str, str, str]]:
    """What is measured of one model: (method, kind of images, measurement)."""
    attack = spec.attack.name
    methods = ("before",) if attack == "none" else ("before", *(lane.name for lane in LANES))
    plan = {"clean": tuple(MEASUREMENTS)}
    if attack in TRIGGERED_OF:
        plan |= {"triggered_true": ON_TRIGGERED, "triggered_target": ON_TRIGGERED}
    return [(method, kind, name) for method in methods for kind in plan for name in plan[kind]]


def todo(spec: TrainSpec) -> list[tuple[str, str, str]]:
    """What of `planned` is not in the model's file."""
    done = read(_path(spec.id))["measured"] if _path(spec.id).exists() else {}
    return [
        (method, kind, name)
        for method, kind, name in planned(spec)
        if name not in done.get(method, {}).get(kind, {})
    ]


def _path(run_id: str) -> Path:
    return GEOMETRY / f"{run_id}.json"


def missing() -> list[str]:
    return sorted(spec.id for spec in specs() if spec.seed in SEEDS and todo(spec))


def make(run_id: str) -> None:
    """Complete the file of one zoo model, saved after each measurement."""
    store = Store()
    run = of_zoo(store, run_id)
    spec = run.spec
    found: dict[str, Any] = (
        read(_path(run_id))
        if _path(run_id).exists()
        else {
            "run": run_id,
            "data": spec.data,
            "model": spec.model,
            "attack": spec.attack.name,
            "seed": spec.seed,
            "num_images": NUM_IMAGES,
            "environment": environment(),
            "measured": {},
        }
    )
    splits, attack, left = load(spec.data, seed=spec.seed), load_attack(run), todo(spec)
    targets = {"before": run_id}
    if {method for method, *_ in left} - {"before"}:
        targets |= targets_of(purified(store, run_id))
    for method, kind, name in left:
        images, labels = select(splits, attack, kind, NUM_IMAGES, 0)
        options = {**MEASUREMENTS[name], "data": kind, "num_images": NUM_IMAGES}
        plugin = build("measurements", Choice(name, options))
        model = load_model(store, targets[method]).model
        *_, partial = plugin.measure(model, images, labels, seed=0)
        found["measured"].setdefault(method, {}).setdefault(kind, {})[name] = dict(partial.values)
        write(_path(run_id), found)
        print(run_id, method, kind, name, f"{partial.values['seconds']:.0f} s", flush=True)
