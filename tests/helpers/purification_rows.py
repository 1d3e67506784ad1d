"""Rows as `evidence.purification` writes them, with effects that are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

ATTACKS = ("badnets", "blend", "wanet")
BEFORE = {"ca": 0.99, "asr": 0.95, "ra": 0.05, "n_clean": 2400, "n_triggered": 2200}
# What one purification leaves: (method, how, times, attack) -> ASR and loss of clean accuracy.
Left = Callable[[str, str, float, str], tuple[float, float]]
TIMES = (0.1, 0.3, 1.0, 3.0)
# fmt: off
HOW = {  # how -> methods
    "default": ("ngf, one layer", "ngf, all layers", "sgd, all layers"),
    "rule": ("ngf, one layer", "ngf, last layer", "gradient, one layer", "adam, all layers"),
    "sweep": ("ngf, one layer", "ngf, all layers", "gradient, all layers", "sgd, all layers"),
    "weak": ("ngf, all layers", "sgd, all layers"),
    "strong": ("ngf, all layers", "sgd, all layers"),
}
# fmt: on


def usual(method: str, how: str, times: float, attack: str) -> tuple[float, float]:
    """NGF of one layer leaves less than the others; strong augmentation takes away much."""
    asr = {"ngf": 0.2, "gradient": 0.3, "sgd": 0.4, "adam": 0.4}[method.split(",")[0]]
    asr += {"badnets": 0.0, "blend": 0.02, "wanet": 0.04}[attack]
    asr += 0.3 * (how == "weak") + 0.4 * ("last" in method) - 0.05 * ("one" in method)
    if how == "sweep":
        return min(1.0, max(0.0, asr + 0.25 - 0.1 * times)), 0.01 * times
    return asr, 0.008


def file(
    attack: str,
    model_seed: int,
    left: Left = usual,
    *,
    noise: float = 0.01,
    seeds: int = 3,
    how: dict[str, tuple[str, ...]] | None = None,
) -> dict[str, Any]:
    """What one file holds. noise: standard deviation of ASR between models, and between
    purification seeds of one model.
    """
    rng = np.random.default_rng([model_seed, *map(ord, attack)])
    of_model = rng.normal(0, noise)
    rows = []
    for name, methods in (HOW if how is None else how).items():
        for method in methods:
            for times in TIMES if name == "sweep" else (0.0,):
                for seed in range(seeds):
                    asr, lost = left(method, name, times, attack)
                    asr = float(np.clip(asr + of_model + rng.normal(0, noise), 0, 1))
                    rows.append(row(method, name, times, seed, asr, BEFORE["ca"] - lost))
    return {
        "run": f"signs-{attack}-s{model_seed}-0000000000",
        "attack": attack,
        "model_seed": model_seed,
        "num_clean": 500,
        "before": dict(BEFORE),
        "environment": {"torch": "2.14.1+cpu", "hardware": "AMD EPYC", "cores": 2},
        "rows": rows,
    }


def row(
    method: str, how: str, times: float, seed: int, asr: float, ca: float, **more: Any
) -> dict[str, Any]:
    return {
        "method": method,
        "how": how,
        "times": times,
        "seed": seed,
        "strength": 0.1 * (times or 1.0),
        "layer": "all" if "all" in method else "stage2.block1.conv2",
        "distance": 1.0,
        "augmentation": how if how in ("weak", "strong") else "weak",
        "seconds": 1.0,
        "clean_accuracy_on_own_images": ca,
        "ca": ca,
        "asr": asr,
        "ra": round(1 - asr, 6),
        "n_clean": BEFORE["n_clean"],
        "n_triggered": BEFORE["n_triggered"],
        **more,
    }


def files(left: Left = usual, *, models: int = 3, **options: Any) -> list[dict[str, Any]]:
    return [file(attack, seed, left, **options) for attack in ATTACKS for seed in range(models)]


def rows_of(made: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As `purification.rows` gives them."""
    return [
        {**one, **{name: of[name] for name in ("run", "attack", "model_seed", "before")}}
        for of in made
        for one in of["rows"]
    ]
