"""Measures λmax and Tr(H) of purified models that `evidence.frontier` has left, into its files."""

from __future__ import annotations

from pathlib import Path

from evidence.cards import curvature
from evidence.computing import Failed, of_zoo
from evidence.frontier import OTHER_NETWORKS, specs, weights_path
from evidence.shipped import RUNS, read, write
from ngf.checkpoints.weights import load_model, load_weights
from ngf.runs.store import Store

METHODS = ("ngf, auto layer", "ngf, last layer", "sgd, same layer", "sgd, all layers")


def missing() -> list[str]:
    return [
        spec.id
        for spec in specs()
        if spec.model not in OTHER_NETWORKS and not _is_complete(RUNS / f"{spec.id}.json")
    ]


def _is_complete(path: Path) -> bool:
    return path.exists() and all("curvature" in read(path)["results"][name] for name in METHODS)


def make(run_id: str) -> None:
    """Complete the file of one model, saved after each method."""
    path = RUNS / f"{run_id}.json"
    if not path.exists():
        raise Failed(f"{path} is not there yet: python -m evidence frontier")
    run, found = of_zoo(Store(), run_id), read(path)
    for name in METHODS:
        result, weights = found["results"][name], weights_path(run_id, name)
        if "curvature" in result:
            continue
        if not weights.exists():
            raise Failed(
                f"{weights} is gone. Delete {path}, then: python -m evidence frontier sharpness"
            )
        model = load_weights(load_model(run.store, run_id).model, weights)
        result["curvature"] = curvature(run, model)
        write(path, found)
        print(
            f"{run_id}: {name}: λmax {result['curvature']['lambda_max']:.1f} "
            f"Tr(H) {result['curvature']['trace']:.0f}",
            flush=True,
        )
