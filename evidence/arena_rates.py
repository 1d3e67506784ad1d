"""Every defense where fewer training images were poisoned: files in assets/evidence/arena_rates.

BadNets on signs, seed 0, at the poisoning rates of `RATES`; its default rate is among the rows of
`arena`. Models are trained here and stay in the store: only what was measured on them ships. A
model whose backdoor is too weak to be one is left out, and its file says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from evidence import arena
from evidence.arena import (
    METHODS,
    NUM_CLEAN,
    POISONED,
    SLOW,
    Bench,
    Row,
    Trial,
    left,
    rows_in,
    sentence,
    started,
)
from evidence.computing import trained
from evidence.shipped import EVIDENCE, write
from ngf.catalogue import options_of
from ngf.config import Choice, TrainSpec
from ngf.runs.store import Store

FOLDER = EVIDENCE / "arena_rates"
ATTACK = "badnets"
RATES = (0.005, 0.01, 0.05)


def specs() -> list[TrainSpec]:
    """The models, from the lowest rate up."""
    return [TrainSpec(attack=Choice(ATTACK, {"poison_rate": rate})) for rate in RATES]


def planned() -> Iterator[Trial]:
    for method in METHODS:
        if method not in SLOW:
            yield Trial(method, 0, NUM_CLEAN)


def path_of(run_id: str) -> Path:
    return FOLDER / f"{run_id}.json"


def todo(spec: TrainSpec) -> list[Trial]:
    return left(path_of(spec.id), planned())


def rows() -> list[Row]:
    """All rows there are, and those of `arena` at the default rate, each with `poison_rate` and
    `before`.
    """
    usual = next(s for s in arena.specs() if s.attack.name == ATTACK and s.seed == 0)
    rate = options_of("attacks", usual.attack)["poison_rate"]
    wanted = {trial.key for trial in planned()}
    found = [
        {**row, "poison_rate": rate}
        for row in arena.rows()
        if row["run"] == usual.id and (row["method"], row["seed"], row["num_clean"]) in wanted
    ]
    return found + rows_in(FOLDER, "poison_rate")


def missing() -> list[str]:
    return [spec.id for spec in specs() if todo(spec)]


def make(run_id: str) -> None:
    """Train one model where it is not there, and complete its file."""
    spec = next(spec for spec in specs() if spec.id == run_id)
    store = Store()
    bench = Bench(store, trained(store, spec))
    file = started(path_of(run_id), bench)
    file |= {"poisoned": POISONED, "poison_rate": spec.attack.options["poison_rate"]}
    for trial in todo(spec):
        row = bench.purify(trial)
        file["rows"].append(row)
        write(path_of(run_id), file)
        print(f"{run_id}: {trial.method}: {sentence(row)}", flush=True)
