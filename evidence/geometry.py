"""Sharpness of the zoo, before and after purification: are backdoored minima sharper, and purified
ones smoother?

    python -m evidence.geometry [RUN ...] [--num-images 2000] [--threads 1]

For each zoo model one file in assets/evidence/geometry: every measure for the model itself and for
what NGF, SGD and Adam (the Lab's defaults, 500 clean images, 100 steps) make of it, on clean,
triggered -> true and triggered -> target images. A measure that is there already is not measured
again. `python -m evidence.geometry_table` makes the table.
"""

from __future__ import annotations

import argparse
import json
import sys

import torch

from analysis.images import select
from ngf.catalogue import build
from ngf.checkpoints.weights import load_attack, load_model
from ngf.config import Choice, PurifySpec, TrainSpec
from ngf.data import load
from ngf.environment import environment, exact_numerics
from ngf.places import ASSETS
from ngf.runs.child import execute
from ngf.runs.files import plain, write_atomic
from ngf.runs.store import Run, Store

OUT = ASSETS / "evidence" / "geometry"
LANES = tuple(Choice(name) for name in ("ngf", "sgd", "adam"))  # the Lab's defaults
DATA = ("clean", "triggered_true", "triggered_target")
# Enough for an eigenvalue certified to about 1 % and a trace to about 4 %.
MEASURES = {
    "hessian_spectrum": {"steps": 8, "vectors": 1, "probes": 6},
    "fisher_trace": {"draws": 5},
    "sharpness": {"steps": 5, "probes": 2, "draws": 5},
}


def purified(store: Store, parent: str, lanes: tuple[Choice, ...] = LANES) -> Run:
    """The purification of a model; raises as `computed`."""
    return computed(store, PurifySpec(parent=parent, lanes=lanes))


def computed(store: Store, spec: TrainSpec | PurifySpec) -> Run:
    """The finished run, computed when it is not there. Raises RuntimeError, with the run's
    own error, when it fails.
    """
    run = store.submit(spec)
    if run.status != "done" and execute(run) != "done":
        raise RuntimeError(f"{run.id}: {run.error}")
    return run


def targets_of(run: Run) -> dict[str, str]:
    """What a purification made, by method, as `load_model` takes it."""
    return {lane: f"{run.id}:{lane}" for lane in run.result["lanes"]}


def measure(
    store: Store, run_id: str, num_images: int, measures: list[str], kinds: list[str]
) -> None:
    """Fill the file of one zoo model, saved after each measure."""
    path = OUT / f"{run_id}.json"
    spec = store.get(run_id).spec
    found = (
        json.loads(path.read_text(encoding="utf-8"))
        if path.exists()
        else {
            "run": run_id,
            "data": spec.data,
            "model": spec.model,
            "attack": spec.attack.name,
            "seed": spec.seed,
            "num_images": num_images,
            "environment": environment(),
            "measured": {},
        }
    )
    attack = load_attack(store.get(run_id))
    attacked = spec.attack.name != "none"
    splits = load(spec.data, seed=spec.seed)
    targets = {"before": run_id} | (targets_of(purified(store, run_id)) if attacked else {})
    for method, target in targets.items():
        model = load_model(store, target).model
        for data in kinds if attacked else kinds[:1]:
            images, labels = select(splits, attack, data, num_images, 0)
            done = found["measured"].setdefault(method, {}).setdefault(data, {})
            for name in measures:
                if name in done:
                    continue
                plugin = build(
                    "measurements",
                    Choice(name, {**MEASURES[name], "data": data, "num_images": num_images}),
                )
                *_, partial = plugin.measure(model, images, labels, seed=0)
                done[name] = plain(dict(partial.values))
                write_atomic(path, json.dumps(found, indent=1) + "\n")
                print(run_id, method, data, name, f"{done[name]['seconds']:.0f} s", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "runs", nargs="*", help="zoo models; the default is all on signs and Fashion-MNIST"
    )
    parser.add_argument("--num-images", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--measures", default=",".join(MEASURES))
    parser.add_argument("--images", default=",".join(DATA), help="kinds of images, clean first")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    exact_numerics()
    OUT.mkdir(parents=True, exist_ok=True)
    store = Store()
    for run_id in options.runs or sorted(run.id for run in store.runs() if run.source == "zoo"):
        measure(
            store,
            run_id,
            options.num_images,
            options.measures.split(","),
            options.images.split(","),
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
