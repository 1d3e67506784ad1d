"""Every defense against every attack, under one protocol: flat rows, a file per model in
assets/evidence/arena.

    clean images    500 from the pool that training has not seen, the same ones for every method
    strength        the plug-in's default, as a press on Start in the Lab has it; where a method
                    chooses a threshold or a share, it does so on those 500 images alone
    augmentation    the strong one, for all
    models          three seeds for each attack on signs, and benign ones: what a defense costs
                    where there is nothing to remove
    measured        CA, ASR and RA on the whole test set, before and after; ASR once more after the
                    reactivation of `analysis.reactivation`; seconds on one core; how many
                    parameters differ; the largest eigenvalue of the Hessian before and after on
                    128 test images, for models of seed 0; CA and ASR along the way, for models of
                    seed 1

No choice of anything looks at a trigger. Rows that are there already are left alone, so the same
command goes on after anything; a file is written after every row. A divergence, and a refusal with
its reason, are rows as well.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from analysis.curvature.krylov import lanczos
from analysis.curvature.operators import Hessian
from analysis.reactivation import POISONED, poisoned, reactivated
from evidence.computing import of_zoo
from evidence.shipped import EVIDENCE, read, read_all, write
from evidence.zoo import specs as zoo_specs
from ngf.catalogue import build
from ngf.checkpoints.weights import load_attack, load_model
from ngf.config import Choice, TrainSpec
from ngf.data import load, to_float
from ngf.defenses.contract import Problem, Purification, Step
from ngf.environment import environment
from ngf.evaluate import Rates, TestSet, der, spread, test_set
from ngf.finite import Diverged
from ngf.options import SpecError
from ngf.runs.store import Store, TrainRun

FOLDER = EVIDENCE / "arena"
METHODS = {  # in the order of the page: family after family
    "ft": Choice("sgd"),
    "ft_adam": Choice("adam"),
    "ft_last": Choice("sgd", {"layer": "last"}),
    "ft_init": Choice("ft_init"),
    "fe_tuning": Choice("fe_tuning"),
    "ft_sam": Choice("ft_sam"),
    "super_ft": Choice("super_ft"),
    "fst": Choice("fst"),
    "ngf": Choice("ngf"),
    "ngf_all": Choice("ngf", {"layer": "all"}),
    "ngf_strong": Choice("ngf", {"layer": "all", "trust_region": 0.03}),
    "gradient_all": Choice("gradient_kl", {"layer": "all"}),
    "ngf_as_released": Choice("ngf_as_released"),
    "fip": Choice("fip"),
    "fip_as_released": Choice("fip_as_released"),
    "nft": Choice("nft"),
    "fine_pruning": Choice("fine_pruning"),
    "anp": Choice("anp"),
    "awm": Choice("awm"),
    "rnp": Choice("rnp"),
    "clp": Choice("clp"),
    "tsbd": Choice("tsbd"),
    "neural_cleanse": Choice("neural_cleanse"),
    "i_bau": Choice("i_bau"),
    "sau": Choice("sau"),
    "bti_dbf": Choice("bti_dbf"),
    "pam": Choice("pam"),
    "nad": Choice("nad"),
    "mcr": Choice("mcr"),
    "npd": Choice("npd"),
    "unit": Choice("unit"),
}
ABLATED = {  # NGF on all layers with one of its parts changed
    "ngf_weak": Choice("ngf", {"layer": "all", "augmentation": "weak"}),
    "ngf_pulled": Choice("ngf", {"layer": "all", "regularizer": 1.0}),
}
MODEL_SEEDS = range(3)
SEEDS = range(1)  # of purification, on every model
SLOW = ("ngf_as_released", "fip", "fip_as_released")  # over 20 s: on models of seed 0 alone
MORE_SEEDS = {name: range(3) for name in ("ft", "ngf", "ngf_all")}  # on models of every seed
NUM_CLEAN = 500
FEW_CLEAN = (20, 100, 2500)  # further numbers of clean images, on the attacks of `SOME`
SOME = ("badnets", "blend", "wanet")
CURVES_OF = 1  # model seed: its purifications with the usual images are followed on their way
WATCHED = 300  # test images of each kind that a curve is counted on
_POINTS = 9  # of a curve, at most, the first and the last step among them
_CURVATURE = 128  # test images that the largest eigenvalue is taken on
_PRODUCTS = 8  # with the Hessian, at most
Row = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    method: str
    seed: int
    num_clean: int

    @property
    def key(self) -> tuple[str, int, int]:
        return self.method, self.seed, self.num_clean


def specs() -> list[TrainSpec]:
    """The models on signs, those of seed 0 first: every attack has a row soon."""
    found = [spec for spec in zoo_specs() if spec.data == "signs" and spec.seed in MODEL_SEEDS]
    return sorted(found, key=lambda spec: spec.seed)


def planned(spec: TrainSpec) -> Iterator[Trial]:
    for method in METHODS:
        for seed in SEEDS if method not in SLOW or spec.seed == 0 else ():
            yield Trial(method, seed, NUM_CLEAN)
    for method in ABLATED:
        yield Trial(method, 0, NUM_CLEAN)
    for method, seeds in MORE_SEEDS.items():
        for seed in seeds:
            if seed not in SEEDS:
                yield Trial(method, seed, NUM_CLEAN)
    if spec.seed == 0 and spec.attack.name in SOME:
        for num_clean in FEW_CLEAN:
            for method in METHODS:
                if method not in SLOW:
                    yield Trial(method, 0, num_clean)


def path_of(run_id: str) -> Path:
    return FOLDER / f"{run_id}.json"


def done(path: Path) -> list[Row]:
    """The rows of a file, none where it is not there."""
    found: list[Row] = read(path)["rows"] if path.exists() else []
    return found


def todo(spec: TrainSpec) -> list[Trial]:
    return left(path_of(spec.id), planned(spec))


def left(path: Path, trials: Iterable[Trial]) -> list[Trial]:
    """Those of which a file has no row."""
    known = {(row["method"], row["seed"], row["num_clean"]) for row in done(path)}
    return [trial for trial in trials if trial.key not in known]


def rows() -> list[Row]:
    """All rows there are, as `rows_in` gives them."""
    return rows_in(FOLDER)


def rows_in(folder: Path, *more: str) -> list[Row]:
    """The rows of all files of a folder, each with its model: `run`, `attack`, `model_seed`, rates
    before, and what else of the file is named.
    """
    names = ("run", "attack", "model_seed", "before", *more)
    return [
        {**row, **{name: file[name] for name in names}}
        for file in read_all(folder)
        for row in file["rows"]
    ]


class Bench:
    """One model, what it is measured on, and the images that the attacker would come back with."""

    def __init__(self, store: Store, run: TrainRun) -> None:
        self.spec = run.spec
        self.model = load_model(store, run.id).model
        self.attack = load_attack(run)
        self.splits = load(self.spec.data, seed=self.spec.seed)
        self.whole: TestSet = test_set(self.splits, self.attack)
        self.watched = test_set(self.splits, self.attack, WATCHED)
        self.rates = self.whole.evaluate(self.model)
        self.before = {**told(self.rates), **self.curvature(self.model)}

    def curvature(self, model: nn.Module) -> dict[str, float]:
        """`lambda_max` of the Hessian of the clean loss, for a model of seed 0; else nothing."""
        if self.spec.seed:
            return {}
        test = self.whole.clean
        test = test.take(spread(len(test), _CURVATURE))
        hessian = Hessian(model, to_float(test.images), test.labels)
        rng = torch.Generator().manual_seed(0)
        for found in lanczos(hessian, _PRODUCTS, rng):
            largest = found.values[-1]
        return {"lambda_max": round(float(largest), 4)}

    def purify(self, trial: Trial) -> Row:
        """The row of one purification."""
        row: Row = {"method": trial.method, "seed": trial.seed, "num_clean": trial.num_clean}
        problem = self.problem(trial.seed, trial.num_clean)
        usual = (trial.seed, trial.num_clean) == (0, NUM_CLEAN)
        curve = Curve(self.watched) if usual and self.spec.seed == CURVES_OF else None
        found, model = self.made((METHODS | ABLATED)[trial.method], problem, curve)
        row |= found
        if curve is not None:
            row["curve"] = curve.points
        if model is None:
            return row
        row |= self.curvature(model)
        row["changed"] = changed(self.model, model)
        if self.whole.triggered is not None:
            bad = poisoned(self.splits, self.attack, trial.seed)
            again = reactivated(model, problem.clean, bad, trial.seed)
            row["asr_reactivated"] = told(self.whole.evaluate(again))["asr"]
        return row

    def problem(self, seed: int, num_clean: int) -> Problem:
        """What a defender with so many clean images has."""
        splits = load(self.spec.data, seed=seed, num_clean=num_clean)
        flips = splits.source.facts["survives_flip"]
        return Problem(self.model, splits.clean, None, seed, flips)

    def made(
        self, choice: Choice, problem: Problem, curve: Curve | None = None
    ) -> tuple[Row, nn.Module | None]:
        """How a purification ended, what it took and left, and its model; none where it was
        refused or diverged. Its way is told to `curve`.
        """
        clock = Clock()
        try:
            purification = build("defenses", choice).purify(problem)
            for event in purification:
                if curve is not None and isinstance(event, Step):
                    used = clock.seconds
                    with clock.stopped():
                        curve.follow(purification, used)
        except SpecError as refused:
            return {"refused": str(refused)}, None
        except Diverged as error:
            return {"diverged": error.step, "seconds": round(clock.seconds, 2)}, None
        row: Row = {"seconds": round(clock.seconds, 2), "elapsed": round(clock.elapsed, 2)}
        about, model = purification.summary(), purification.model
        row |= {name: about[name] for name in ("steps", "layer", "lr", "did") if name in about}
        after = self.whole.evaluate(model)
        row |= told(after)
        if self.whole.triggered is not None:
            row["der"] = round(der(self.rates, after) or 0.0, 5)
        return row, model


class Clock:
    """Seconds since it was made, without those while it was stopped.

    seconds: of the processor. elapsed: of the wall.
    """

    def __init__(self) -> None:
        self._used, self._started = time.process_time(), time.monotonic()

    @property
    def seconds(self) -> float:
        return time.process_time() - self._used

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._started

    @contextmanager
    def stopped(self) -> Iterator[None]:
        used, started = time.process_time(), time.monotonic()
        yield
        self._used += time.process_time() - used
        self._started += time.monotonic() - started


class Curve:
    """The way of a purification: rates on `watched` at some of its steps, evenly spread.

    points: lists of equal length: `step`, `seconds` (of one core), `ca`, `asr` (None for a benign
    model).
    """

    def __init__(self, watched: TestSet) -> None:
        self.watched = watched
        self.points: dict[str, list[Any]] = {name: [] for name in ("step", "seconds", "ca", "asr")}

    def follow(self, purification: Purification, seconds: float) -> None:
        """A point, if it is time for one."""
        step, steps, known = purification.step, purification.steps, self.points["step"]
        if known and step < steps and step < len(known) * steps / (_POINTS - 1):
            return
        rates = told(self.watched.evaluate(purification.model))
        found = {"step": step, "seconds": round(seconds, 2), "ca": rates["ca"], "asr": rates["asr"]}
        for name, value in found.items():
            self.points[name].append(value)


def told(rates: Rates) -> dict[str, float | None]:
    """CA, ASR and RA to five digits: they are counts of some thousand images."""
    found = {"ca": rates.ca, "asr": rates.asr, "ra": rates.ra}
    return {name: value if value is None else round(value, 5) for name, value in found.items()}


def changed(before: nn.Module, after: nn.Module) -> int:
    """How many of the parameters of the model as it came are other numbers now."""
    now = dict(after.named_parameters())
    return sum(
        int((now[name] != value).sum()) if name in now else value.numel()
        for name, value in before.named_parameters()
    )


def missing() -> list[str]:
    return [spec.id for spec in specs() if todo(spec)]


def make(run_id: str) -> None:
    """Complete the file of one model."""
    spec = next(spec for spec in specs() if spec.id == run_id)
    store = Store()
    bench = Bench(store, of_zoo(store, run_id))
    file = started(path_of(run_id), bench) | {"poisoned": POISONED}
    for trial in todo(spec):
        row = bench.purify(trial)
        file["rows"].append(row)
        write(path_of(run_id), file)
        what = f"{trial.method}, seed {trial.seed}, {trial.num_clean} clean images"
        print(f"{run_id}: {what}: {sentence(row)}", flush=True)


def started(path: Path, bench: Bench) -> dict[str, Any]:
    """What a file of rows holds: as it is, or without rows where it is new."""
    if path.exists():
        found: dict[str, Any] = read(path)
        return found
    return {
        "run": bench.spec.id,
        "attack": bench.spec.attack.name,
        "model_seed": bench.spec.seed,
        "before": bench.before,
        "environment": environment(),
        "rows": [],
    }


def sentence(row: Row) -> str:
    """How a row ended, for the log."""
    if "refused" in row:
        return f"refused: {row['refused']}"
    if "diverged" in row:
        return f"diverged at step {row['diverged']}"
    asr = "" if row["asr"] is None else f" ASR {row['asr']:.3f}"
    if "asr_reactivated" in row:
        asr += f" ({row['asr_reactivated']:.3f})"
    return f"CA {row['ca']:.3f}{asr} in {row['seconds']} s"
