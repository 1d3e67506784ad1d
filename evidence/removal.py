"""What purification achieves against every attack: the zoo's backdoored models, before and after.

Each model on signs is purified by NGF, SGD and Adam with the Lab's defaults (rates fixed
beforehand), as a press on Start in the Lab does; assets/evidence/removal.json holds CA, ASR and RA
on the whole test set. A model that is there already is left alone.
"""

from __future__ import annotations

from typing import Any

from evidence.claims import GONE
from evidence.computing import LANES, of_zoo, purified
from evidence.shipped import REMOVAL, read, write
from evidence.zoo import specs
from ngf.catalogue import build
from ngf.environment import environment
from ngf.runs.store import PurifyRun, Store, TrainRun

RATES = ("ca", "asr", "ra", "n_clean", "n_triggered")


def row(origin: TrainRun, purification: PurifyRun) -> dict[str, Any]:
    """Rates of one backdoored model and of what each defense made of it."""
    result = purification.finished()
    return {
        "run": origin.id,
        "data": origin.spec.data,
        "model": origin.spec.model,
        "attack": origin.spec.attack.name,
        "seed": origin.spec.seed,
        "before": {name: result["before"][name] for name in RATES},
        "after": {
            lane: {"layer": found["layer"], **{name: found["after"][name] for name in RATES}}
            for lane, found in result["lanes"].items()
        },
    }


def rows() -> list[dict[str, Any]]:
    """What is measured already."""
    found: list[dict[str, Any]] = read(REMOVAL)["rows"] if REMOVAL.exists() else []
    return found


def missing() -> list[str]:
    known = {found["run"] for found in rows()}
    wanted = [spec for spec in specs() if spec.data == "signs" and spec.attack.name != "none"]
    return sorted(spec.id for spec in wanted if spec.id not in known)


def make(run_id: str) -> None:
    store = Store()
    run = of_zoo(store, run_id)
    purification = purified(store, run_id)
    found = row(run, purification)
    (steps,) = {build("defenses", lane).steps for lane in LANES}
    told = {
        "rows": sorted([*rows(), found], key=lambda known: (known["attack"], known["seed"])),
        "steps": steps,
        "num_clean": purification.spec.num_clean,
        "gone": GONE,
        "environment": environment(),
    }
    write(REMOVAL, told)
    print(
        f"{run_id}: ASR {found['before']['asr']:.3f}, "
        + ", ".join(f"{lane} {rates['asr']:.3f}" for lane, rates in found["after"].items()),
        flush=True,
    )
