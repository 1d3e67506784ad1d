"""Run folders of imported models and of what came of them, written by hand: no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ngf.catalogue import normalize
from ngf.config import Choice, MeasureSpec, PurifySpec, Spec, Training, TrainSpec
from ngf.places import imports_dir
from ngf.runs.folder import ARRAYS, FORM, REQUEST, RESULT
from tests.helpers.run_folders import race_events, write_run

FACTS = "facts.json"  # as `ngf.data.mine` calls it, without torch
CONTENT = "0123456789abcdef"
LANES = (Choice("ngf"), Choice("sgd"))


def import_spec(file: str = "fedcba9876543210", content: str = CONTENT) -> TrainSpec:
    """file: the digest of what was brought."""
    quiet = Training(min_ca=0.0, min_asr=0.0)
    return TrainSpec(data="mine", training=quiet, content=content, imported=file)


def give(folder: Path, owner: str) -> None:
    about = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
    (folder / REQUEST).write_text(json.dumps(about | {"owner": owner}), encoding="utf-8")


def write_import(
    root: Path, owner: str, spec: TrainSpec, name: str = "secret-net.pt", triggered: int = 0
) -> Path:
    """An imported model, and the folder of its images.

    triggered: images with the trigger that came along.
    """
    folder = write_run(root, spec, [], done=True)
    give(folder, owner)
    facts: dict[str, Any] = {
        "classes": [f"class {k}" for k in range(12)],
        "shape": [3, 32, 32],
        "pools": {"train": 0, "holdout": 45, "test": 15},
        "validation": 0,
        "survives_flip": [False] * 12,
        "fingerprint": spec.content,
    }
    way = {"network": spec.model, "preprocessing": "32 px", "agreement": 0.9, "count": 60}
    about = {
        "file": name,
        "sha256": "5" * 64,
        "notes": [f"{name} is a state dict"],
        "network": "Pre-activation ResNet, tiny",
        "unused": [name],
        "preprocessing": {
            "side": 32,
            "normalization": "own numbers",
            "mean": [0.5, 0.4, 0.3],
            "std": [0.2, 0.2, 0.25],
            "order": "rgb",
            "fit": "squeeze",
        },
        "images": 60,
        "labeled": True,
        "found_tried": [way | {"labeled": True}],
        "found_classes": {"labels": ["0"], "outputs": [0], "agreement": 0.9, "by_name": True},
        "found_images": {"count": 60, "gray": 0, "left_out": name},
    }
    result = {
        "ca": 14 / 15,
        "asr": 1.0 if triggered else None,
        "asr_interval": [0.9, 1.0] if triggered else None,
        "ra": 0.0 if triggered else None,
        "n_clean": 15,
        "n_triggered": triggered,
        "ca_interval": [0.7, 0.99],
        "facts": facts,
        "imported": about,
    }
    (folder / RESULT).write_text(json.dumps(result), encoding="utf-8")
    (folder / FORM).write_text(json.dumps({"form": {"container": "pt"}}), encoding="utf-8")
    images = imports_dir() / spec.content
    images.mkdir(parents=True, exist_ok=True)
    (images / FACTS).write_text(json.dumps(facts), encoding="utf-8")
    return folder


def write_owned(root: Path, owner: str, spec: Spec, *, done: bool = True) -> Path:
    folder = write_run(root, spec, race_events() if isinstance(spec, PurifySpec) else [], done=done)
    give(folder, owner)
    return folder


def race_of(parent: str, seed: int = 0) -> PurifySpec:
    return PurifySpec(parent=parent, lanes=LANES, num_clean=45, seed=seed)


def measurement_of(target: str) -> MeasureSpec:
    return MeasureSpec(target=target, measurement=normalize("measurements", Choice("loss_slice")))


def write_measurement(root: Path, owner: str, target: str) -> MeasureSpec:
    """A loss slice that is done."""
    spec = measurement_of(target)
    folder = write_owned(root, owner, spec)
    values = {"data": "clean", "n": 64, "seed": 0, "batch_norm": "eval"}
    (folder / RESULT).write_text(json.dumps({"values": values, "complete": True}), encoding="utf-8")
    distance = np.linspace(-0.5, 0.5, 3)
    np.savez(folder / ARRAYS, distance=distance, **dict.fromkeys(("mean", "low", "high"), distance))
    return spec


def write_reactivation(root: Path, owner: str, target: str) -> MeasureSpec:
    """A reactivation that is done: 35 triggered images, 1 of them before and 30 after."""
    choice = normalize("measurements", Choice("reactivation"))
    spec = MeasureSpec(target=target, measurement=choice)
    folder = write_owned(root, owner, spec)
    values: dict[str, Any] = {"data": "clean", "n": 15, "seed": 0, "batch_norm": "eval"}
    values |= {"rate": "ca", "epochs": 5, "n_poisoned": 5, "n_clean": 45, "n_held": 35}
    values["note"] = "Attack success is counted on 35 others."
    for when, asr, low, high in (("before", 1 / 35, 0.01, 0.15), ("after", 30 / 35, 0.7, 0.94)):
        values |= {f"asr_{when}": asr, f"asr_{when}_low": low, f"asr_{when}_high": high}
        values[f"right_{when}"] = 14 / 15
    (folder / RESULT).write_text(json.dumps({"values": values, "complete": True}), encoding="utf-8")
    asr = np.linspace(1 / 35, 30 / 35, 6)
    np.savez(folder / ARRAYS, epoch=np.arange(6), asr=asr, asr_low=asr - 0.02, asr_high=asr + 0.1)
    return spec


def line(root: Path, owner: str, spec: TrainSpec, name: str = "secret-net.pt") -> list[str]:
    """An import, a race on it, and a measurement of a lane of that. Returns their ids."""
    write_import(root, owner, spec, name)
    race = race_of(spec.id)
    write_owned(root, owner, race)
    lane = write_measurement(root, owner, f"{race.id}:ngf")
    return [spec.id, race.id, lane.id]
