"""How far each defense should go: one rule for all, and what an oracle would have taken.

    default   the rows of `arena`
    rule      the strength that the defender's own 500 clean images allow: the largest that keeps
              accuracy on images that the method has not seen within one point (see
              `ngf.defenses.strength`). What prunes, masks or bounds applies it by default.
    sweep     a third, three and ten times the default, or the values of `VALUES`. No defender can
              choose among them by what they leave; the best of them is what an **oracle** takes,
              and it is told beside the others, never in a mean.

On the models of `SOME` of seed 0, files in assets/evidence/arena_strength. Rows that are there are
left alone, as in `arena`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from evidence import arena
from evidence.arena import (
    METHODS,
    NUM_CLEAN,
    SLOW,
    SOME,
    Bench,
    Row,
    done,
    rows_in,
    sentence,
    started,
)
from evidence.computing import of_zoo
from evidence.shipped import EVIDENCE, write
from ngf.catalogue import options_of
from ngf.config import Choice, TrainSpec
from ngf.defenses.fine_tuning.options import STRENGTHS
from ngf.runs.store import Store

FOLDER = EVIDENCE / "arena_strength"
TWINS = ("ngf_strong",)  # another method of the arena at another strength
TIMES = (0.3, 3.0, 10.0)  # of the default
VALUES = {  # where the strength is no rate: from gentle to strong
    "anp": ("threshold", (0.3, 0.6, 0.9)),
    "rnp": ("threshold", (0.3, 0.6, 0.9)),
    "clp": ("u", (4.0, 3.0, 2.0, 1.0)),
    "mcr": ("t", (0.25, 0.75, 0.95)),
    "fine_pruning": ("tolerance", (0.03, 0.3)),
    "unit": ("tolerance", (0.03, 0.1)),
}
BY_RULE = {  # what the rule is called where it is not 0; None: it is what the default does
    "fine_pruning": 0.01,
    "anp": None,
    "rnp": None,
    "clp": None,
    "unit": None,
}


@dataclass(frozen=True)
class Trial:
    """how: `rule` or `sweep`. value: of the option that is the strength."""

    method: str
    how: str
    value: float

    @property
    def key(self) -> tuple[str, str, float]:
        return self.method, self.how, self.value


def methods() -> list[str]:
    return [name for name in METHODS if name not in (*SLOW, *TWINS)]


def option_of(method: str) -> str:
    """The option that says how far a method goes."""
    if method in VALUES:
        return VALUES[method][0]
    own = options_of("defenses", METHODS[method])
    return [name for name in STRENGTHS if name in own][-1]


def specs() -> list[TrainSpec]:
    return [spec for spec in arena.specs() if spec.seed == 0 and spec.attack.name in SOME]


def planned() -> Iterator[Trial]:
    """What is measured of each model."""
    for method in methods():
        if (zero := BY_RULE.get(method, 0.0)) is not None:
            yield Trial(method, "rule", zero)
    for method in methods():
        for value in swept(method):
            yield Trial(method, "sweep", value)


def swept(method: str) -> tuple[float, ...]:
    if method in VALUES:
        return VALUES[method][1]
    default = float(options_of("defenses", METHODS[method])[option_of(method)])
    return tuple(float(f"{default * times:.6g}") for times in TIMES)


def path_of(run_id: str) -> Path:
    return FOLDER / f"{run_id}.json"


def todo(spec: TrainSpec) -> list[Trial]:
    known = {(row["method"], row["how"], row["value"]) for row in done(path_of(spec.id))}
    return [trial for trial in planned() if trial.key not in known]


def rows() -> list[Row]:
    return rows_in(FOLDER)


def choice(trial: Trial) -> Choice:
    usual = METHODS[trial.method]
    return replace(usual, options={**usual.options, option_of(trial.method): trial.value})


def missing() -> list[str]:
    return [spec.id for spec in specs() if todo(spec)]


def make(run_id: str) -> None:
    """Complete the file of one model."""
    spec = next(spec for spec in specs() if spec.id == run_id)
    store = Store()
    bench = Bench(store, of_zoo(store, run_id))
    problem = bench.problem(0, NUM_CLEAN)
    file = started(path_of(run_id), bench)
    for trial in todo(spec):
        found, _model = bench.made(choice(trial), problem)
        row = {"method": trial.method, "how": trial.how, "value": trial.value, **found}
        file["rows"].append(row)
        write(path_of(run_id), file)
        said = f"{trial.method}, {trial.how} {trial.value:g}"
        print(f"{run_id}: {said}: {sentence(row)}", flush=True)
