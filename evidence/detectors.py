"""The checkup of every model of the zoo, with its defaults: a file per model in
assets/evidence/detectors, without pictures.

A checkup sees 500 clean test images, the same ones for all models of a data set, and nothing of the
attack. What is known of it here stands beside: `attack` (none for a benign model), `seed`, `target`
(the class that triggered images are sent to, None without one), `asr`. `values` and `classes` are
those of `analysis.measurements.checkup`, by class where it has an array over classes; `seconds` is
time of one core.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from analysis.execute import images_of
from analysis.measurements.base import Measurement
from evidence.computing import of_zoo
from evidence.shipped import EVIDENCE, write
from evidence.zoo import specs as zoo_specs
from ngf.catalogue import build
from ngf.checkpoints.weights import load_attack, load_model
from ngf.config import Choice, MeasureSpec, TrainSpec
from ngf.environment import environment
from ngf.runs.store import Store

FOLDER = EVIDENCE / "detectors"
CHECKUP = Choice("checkup")
OF_CLASSES = (
    *("trigger_size", "trigger_index", "trigger_success"),
    *("universal_rate", "universal_index", "latent_size", "latent_index"),
)
OF_LAYERS = ("layer_trace", "layer_trace_stderr")
DIGITS = 4  # that are kept of a number


def specs() -> list[TrainSpec]:
    """Models on signs first: benign ones and one of each attack, then one seed after the other."""

    def place(spec: TrainSpec) -> tuple[bool, int]:
        return spec.data != "signs", 0 if spec.attack.name == "none" else spec.seed

    return sorted(zoo_specs(), key=place)


def path_of(run_id: str) -> Path:
    return FOLDER / f"{run_id}.json"


def missing() -> list[str]:
    return [spec.id for spec in specs() if not path_of(spec.id).exists()]


def make(run_id: str) -> None:
    """Write the file of one model."""
    found = checked(Store(), run_id, CHECKUP)
    write(path_of(run_id), found)
    values = found["values"]
    print(
        f"{run_id}: class {values['suspicious_class']} (target {found['target']}), indices "
        f"{values['anomaly_index']} {values['universal_index']} {values['latent_index']} "
        f"in {found['seconds']} s",
        flush=True,
    )


def checked(store: Store, run_id: str, checkup: Choice) -> dict[str, Any]:
    """What the file of a model holds."""
    run = of_zoo(store, run_id)
    spec, attack = run.spec, load_attack(run)
    measurement: Measurement = build("measurements", checkup)
    images, labels = images_of(measurement, MeasureSpec(target=run_id, measurement=checkup), store)
    model = load_model(store, run_id).model
    started = time.process_time()
    *_, last = measurement.measure(model, images, labels, seed=0)
    seconds = time.process_time() - started
    asr = run.finished()["asr"]
    return {
        "run": run_id,
        "data": spec.data,
        "model": spec.model,
        "attack": spec.attack.name,
        "seed": spec.seed,
        "target": getattr(attack, "target", None) if attack.poison_rate else None,
        "asr": None if asr is None else short(asr),
        "values": {name: short(value) for name, value in last.values.items() if name != "seconds"},
        "classes": {name: [short(x) for x in last.arrays[name]] for name in OF_CLASSES},
        "layers": {
            "name": last.arrays["layers"].tolist(),
            **{name: [short(x) for x in last.arrays[name]] for name in OF_LAYERS},
        },
        "seconds": round(seconds, 1),
        "environment": environment(),
    }


def short(value: Any) -> Any:
    """A number to four digits; what is none, as it is."""
    if not isinstance(value, (float, np.floating)):
        return value
    return float(f"{value:.{DIGITS}g}")
