"""Sweeps to start from: a page and the command line offer them by name. The models of all but the
last are those of the zoo.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ngf.catalogue import catalogue
from ngf.sweeps.axes import values_in
from ngf.sweeps.spec import SweepSpec


@dataclass(frozen=True)
class Preset:
    """title: what it varies, in words."""

    title: str
    make: Callable[[], SweepSpec]


def radii() -> SweepSpec:
    return _purification(
        attacks="badnets, blend, wanet",
        defenses="ngf",
        more={"lanes.0.trust_region": "0.001..0.1 log 5"},
    )


def clean_images() -> SweepSpec:
    return _purification(
        attacks="badnets, blend", defenses="ngf, sgd", more={"num_clean": "50, 100, 200, 500, 1000"}
    )


def defenses() -> SweepSpec:
    return _purification(
        attacks="badnets, blend, sig, trojan, wanet",
        defenses="ngf, gradient_kl, sgd, adam",
        model_seeds="0..2",
        seeds="0",
    )


def curvature() -> SweepSpec:
    model = {"kind": "train", "attack": "none"}
    return _sweep(
        {"kind": "measure", "measurement": "fisher_trace", "target": model},
        {"target.attack": "none, badnets, blend, sig, wanet", "target.seed": "0..2"},
    )


def everything() -> SweepSpec:
    known = catalogue()
    attacks = [name for name in known["attacks"] if name != "none"]
    return _purification(
        attacks=", ".join(attacks),
        defenses=", ".join(known["defenses"]),
        model_seeds="0..4",
        seeds="0",
        more={"parent.attack.poison_rate": "0.01, 0.02, 0.05, 0.1"},
    )


PRESETS: Mapping[str, Preset] = {
    "radii": Preset("Radius of NGF on three attacks", radii),
    "clean-images": Preset("Number of clean images, NGF and SGD", clean_images),
    "defenses": Preset("Four defenses on five attacks", defenses),
    "curvature": Preset("Fisher trace of benign and backdoored models", curvature),
    "everything": Preset("Every attack × every defense × 5 seeds × 4 poison rates", everything),
}


def _purification(
    *,
    attacks: str,
    defenses: str,
    model_seeds: str = "0",
    seeds: str = "0..2",
    more: Mapping[str, str] | None = None,
) -> SweepSpec:
    """Values as in `values_in`; more: further axes."""
    parent = {"kind": "train", "attack": _first(attacks)}
    return _sweep(
        {"kind": "purify", "lanes": [_first(defenses)], "parent": parent},
        {
            "parent.attack": attacks,
            "parent.seed": model_seeds,
            "lanes.0": defenses,
            **(more or {}),
            "seed": seeds,
        },
    )


def _first(names: str) -> str:
    return names.partition(",")[0]


def _sweep(base: Mapping[str, Any], axes: Mapping[str, str]) -> SweepSpec:
    read = {path: list(values_in(path, text)) for path, text in axes.items()}
    return SweepSpec.from_json({"kind": "sweep", "base": base, "axes": read})
