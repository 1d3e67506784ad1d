"""Records the race of the first page: NGF against SGD, both with their defaults, on a zoo model.

An ordinary purification in a store of its own, copied to assets/recordings/race in the run-folder
format. Delete that folder to record it again.
"""

from __future__ import annotations

import shutil

from evidence.computing import of_zoo, purified
from evidence.shipped import RACE
from ngf.config import Choice, TrainSpec
from ngf.places import runs_dir
from ngf.runs.folder import EVENTS, REQUEST, RESULT, SPEC, purified_weights
from ngf.runs.store import Store

PARENT = TrainSpec(attack=Choice("badnets"))
LANES = (Choice("ngf"), Choice("sgd"))


def missing() -> list[str]:
    return [] if (RACE / RESULT).exists() else [PARENT.id]


def make(run_id: str) -> None:
    """Purify that model and copy what ships of it."""
    store = Store(runs_dir() / "recording")
    run = purified(store, of_zoo(store, run_id).id, LANES)
    weights = [purified_weights(lane) for lane in run.spec.lane_names()]
    RACE.mkdir(parents=True, exist_ok=True)
    for file in (SPEC, REQUEST, EVENTS, *weights, RESULT):
        shutil.copy2(run.path / file, RACE / file)
    left = {lane: made["after"]["asr"] for lane, made in run.finished()["lanes"].items()}
    print(f"{run_id}: attack success rate left {left}", flush=True)
