"""What five poisoned images teach a benign network: assets/evidence/arena_taught.json.

The control of every reactivation in `arena`: the same tuning (see `analysis.reactivation`), of a
benign model that never had a backdoor, with five images of each attack. An attack success rate
after reactivation that is no higher than this is no memory of a backdoor.

    rows    attack, seed (of the benign model and of the one whose attack it is), asr_before (of the
            trigger on the benign model as it came), asr (after the tuning), ca
"""

from __future__ import annotations

from typing import Any

from analysis.reactivation import POISONED, poisoned, reactivated
from evidence import arena
from evidence.computing import of_zoo
from evidence.shipped import EVIDENCE, read, write
from ngf.checkpoints.weights import load_attack, load_model
from ngf.config import TrainSpec
from ngf.data import load
from ngf.environment import environment
from ngf.evaluate import test_set
from ngf.runs.store import Store

PATH = EVIDENCE / "arena_taught.json"
Row = dict[str, Any]


def specs() -> list[TrainSpec]:
    """The backdoored models whose attacks are taught."""
    return [spec for spec in arena.specs() if spec.attack.name != "none"]


def rows() -> list[Row]:
    found: list[Row] = read(PATH)["rows"] if PATH.exists() else []
    return found


def missing() -> list[str]:
    known = {(row["attack"], row["seed"]) for row in rows()}
    return [spec.id for spec in specs() if (spec.attack.name, spec.seed) not in known]


def make(run_id: str) -> None:
    """Teach one attack to the benign model of its seed."""
    store = Store()
    run = of_zoo(store, run_id)
    spec = run.spec
    benign = next(s for s in arena.specs() if s.attack.name == "none" and s.seed == spec.seed)
    attack, model = load_attack(run), load_model(store, of_zoo(store, benign.id).id).model
    splits = load(benign.data, seed=benign.seed)
    clean = load(benign.data, seed=0, num_clean=arena.NUM_CLEAN).clean
    whole = test_set(splits, attack)
    again = whole.evaluate(reactivated(model, clean, poisoned(splits, attack, 0), 0))
    row = {
        "attack": spec.attack.name,
        "seed": spec.seed,
        "asr_before": arena.told(whole.evaluate(model))["asr"],
        **{key: arena.told(again)[key] for key in ("asr", "ca")},
    }
    about = {"poisoned": POISONED, "num_clean": arena.NUM_CLEAN, "environment": environment()}
    write(PATH, {**about, "rows": [*rows(), row]})
    print(f"{run_id}: from {row['asr_before']:.3f} to {row['asr']:.3f}", flush=True)
