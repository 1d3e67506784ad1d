"""What every method leaves of a backdoor: flat rows, over models and purification seeds.

One file per backdoored model on signs in assets/evidence/purification. A purification is a draw (of
clean images, of batches, of labels for the Fisher information), so no method is tried once. Each
row says how its strength (learning rate or radius) came about:

    default   the plug-in's own, as a press on Start in the Lab has it
    rule      chosen on clean images: once per model and method, with purification seed 0, within
              the defender's own images; the same for its other purification seeds
    sweep     the default times half decades: what the trade-off between clean accuracy and attack
              success rate is read from
    weak      the default, its clean images augmented weakly; `strong` is the default itself

Rows that are there already are left alone, so the same command goes on after anything; a file is
written after every row. Nothing that was measured is left out of the tables.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from evidence.computing import of_zoo
from evidence.shipped import EVIDENCE, read, read_all, write
from evidence.zoo import specs as zoo_specs
from ngf.catalogue import build
from ngf.checkpoints.weights import load_attack, load_model
from ngf.config import Choice, TrainSpec
from ngf.data import load
from ngf.defenses.contract import Problem
from ngf.environment import environment
from ngf.evaluate import TestSet, accuracy, test_set
from ngf.finite import Diverged
from ngf.runs.store import Store

FOLDER = EVIDENCE / "purification"
MAIN = ("badnets", "blend", "wanet")  # attacks on which rules and sweeps are measured
AUGMENTED = (*MAIN, "trojan", "composite", "sig", "tact")  # on which weak and strong are compared
METHODS = {  # in the order of tables; whatever has one layer has the same one
    "ngf, one layer": Choice("ngf"),
    "ngf, all layers": Choice("ngf", {"layer": "all"}),
    "gradient, one layer": Choice("gradient_kl"),
    "gradient, all layers": Choice("gradient_kl", {"layer": "all"}),
    "sgd, one layer": Choice("sgd", {"layer": "fisher"}),
    "sgd, all layers": Choice("sgd"),
    "ngf, last layer": Choice("ngf", {"layer": "last"}),
    "adam, one layer": Choice("adam", {"layer": "fisher"}),
    "adam, all layers": Choice("adam"),
}
BY_DEFAULT = ("ngf, one layer", "ngf, all layers", "gradient, all layers", "sgd, all layers")
BY_RULE = (*BY_DEFAULT, "gradient, one layer", "sgd, one layer", "adam, all layers")
TIMES = (0.03, 0.1, 0.3, 3.0, 10.0)  # of the default, in a sweep
SEEDS = range(5)  # of purification
FEW_SEEDS = range(2)  # in sweeps and where augmentations are compared
MODEL_SEEDS = range(3)  # of the models on which more than the rule is measured
NUM_CLEAN = 500
RATES = ("ca", "asr", "ra", "n_clean", "n_triggered")
Row = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """One purification to do: `how` its strength comes about (`value` of a sweep, else 0)."""

    method: str
    how: str
    value: float
    seed: int

    @property
    def key(self) -> tuple[str, str, float, int]:
        return self.method, self.how, self.value, self.seed


def specs() -> list[TrainSpec]:
    """The backdoored models on signs, those on which most is measured first."""
    found = [spec for spec in zoo_specs() if spec.data == "signs" and spec.attack.name != "none"]
    return sorted(found, key=lambda spec: (spec.attack.name not in MAIN, spec.seed))


def planned(spec: TrainSpec) -> Iterator[Trial]:
    """What is measured of one model."""
    main, more = spec.attack.name in MAIN, spec.seed in MODEL_SEEDS
    for method in BY_DEFAULT if more else ():
        for seed in SEEDS:
            yield Trial(method, "default", 0.0, seed)
    for method in METHODS if main else ():
        for seed in SEEDS if more or method in BY_RULE else ():
            yield Trial(method, "rule", 0.0, seed)
    for method in BY_DEFAULT if more and spec.attack.name in AUGMENTED else ():
        for seed in FEW_SEEDS:
            yield Trial(method, "weak", 0.0, seed)
    for method in BY_DEFAULT if more and main else ():
        for value in TIMES:
            for seed in FEW_SEEDS:
                yield Trial(method, "sweep", value, seed)


def path_of(run_id: str) -> Path:
    return FOLDER / f"{run_id}.json"


def done(run_id: str) -> list[Row]:
    path = path_of(run_id)
    found: list[Row] = read(path)["rows"] if path.exists() else []
    return found


def todo(spec: TrainSpec) -> list[Trial]:
    known = {(row["method"], row["how"], row["times"], row["seed"]) for row in done(spec.id)}
    return [trial for trial in planned(spec) if trial.key not in known]


def rows() -> list[Row]:
    """All rows there are, each with its model: `run`, `attack`, `model_seed`, rates before."""
    return [
        {**row, **{name: file[name] for name in ("run", "attack", "model_seed", "before")}}
        for file in read_all(FOLDER)
        for row in (*file["rows"], *_again(file["rows"]))
    ]


def _again(done: Sequence[Row]) -> Iterator[Row]:
    """Rows by default that are rows of something else as well: the point 1 of a sweep, and the
    strong side of a comparison of augmentations.
    """
    there = {(row["method"], row["seed"], row["how"]) for row in done}
    swept = {(row["method"], row["seed"]) for row in done if row["times"] == 1.0}
    for row in done:
        own = row["method"], row["seed"]
        if row["how"] == "default":
            if (*own, "sweep") in there and own not in swept:
                yield {**row, "how": "sweep", "times": 1.0}
            if row.get("augmentation", "strong") == "strong" and (*own, "weak") in there:
                yield {**row, "how": "strong"}


class Bench:
    """One backdoored model, and the strengths that were chosen for it so far, by method."""

    def __init__(self, store: Store, run_id: str) -> None:
        run = of_zoo(store, run_id)
        self.spec = run.spec
        self.model = load_model(store, run_id).model
        self.splits = load(self.spec.data, seed=self.spec.seed)
        self.whole: TestSet = test_set(self.splits, load_attack(run))
        self.before = self._rates(self.model)
        self.chosen = {
            row["method"]: row["strength"]
            for row in done(run_id)
            if row["how"] == "rule" and row["seed"] == 0
        }

    def _rates(self, model: nn.Module) -> dict[str, Any]:
        found = self.whole.evaluate(model).to_json()
        return {name: found[name] for name in RATES}

    def purify(self, trial: Trial) -> Row:
        """The row of one purification. A divergence is a row as well."""
        defense = self._defense(trial)
        splits = load(self.spec.data, seed=trial.seed, num_clean=NUM_CLEAN)
        flips = splits.source.facts["survives_flip"]
        problem = Problem(self.model, splits.clean, None, trial.seed, flips)
        row: Row = {
            "method": trial.method,
            "how": trial.how,
            "times": trial.value,
            "seed": trial.seed,
        }
        started = time.monotonic()
        purification = defense.purify(problem)
        try:
            for _ in purification:
                pass
        except Diverged as error:
            seconds = round(time.monotonic() - started, 2)
            strength = getattr(defense, defense.strength)
            return row | {"strength": strength, "diverged": error.step, "seconds": seconds}
        about = purification.summary()
        strength = about["lr"]  # the value of whatever its strength is
        if trial.how == "rule":
            self.chosen.setdefault(trial.method, strength)
        return row | {
            "strength": strength,
            "layer": about["layer"],
            "distance": about["distance"],
            "augmentation": defense.augmentation,
            "seconds": round(time.monotonic() - started, 2),
            "clean_accuracy_on_own_images": accuracy(purification.model, splits.clean),
            **self._rates(purification.model),
        }

    def _defense(self, trial: Trial) -> Any:
        defense = build("defenses", METHODS[trial.method])
        knob, usual = defense.strength, getattr(defense, defense.strength)
        changed: dict[str, Any] = {}
        if trial.how == "rule":
            changed = {knob: self.chosen.get(trial.method, 0.0)}
        elif trial.how == "sweep":
            changed = {knob: float(f"{usual * trial.value:.2g}")}
        elif trial.how == "weak":
            changed = {"augmentation": "weak"}
        return dataclasses.replace(defense, **changed)


def missing() -> list[str]:
    return [spec.id for spec in specs() if todo(spec)]


def make(run_id: str) -> None:
    """Complete the file of one model."""
    spec = next(spec for spec in specs() if spec.id == run_id)
    bench, left = Bench(Store(), run_id), todo(spec)
    file: dict[str, Any] = (
        read(path_of(run_id))
        if path_of(run_id).exists()
        else {
            "run": run_id,
            "attack": spec.attack.name,
            "model_seed": spec.seed,
            "num_clean": NUM_CLEAN,
            "before": bench.before,
            "environment": environment(),
            "rows": [],
        }
    )
    for trial in left:
        row = bench.purify(trial)
        file["rows"].append(row)
        write(path_of(run_id), file)
        said = "diverged" if "diverged" in row else f"CA {row['ca']:.3f} ASR {row['asr']:.3f}"
        print(
            f"{run_id}: {trial.method}, {trial.how} {trial.value:g}, seed {trial.seed}: strength "
            f"{row['strength']:g} {said} in {row['seconds']} s",
            flush=True,
        )
