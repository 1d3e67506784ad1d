"""Records purifications that ship: NGF against SGD, both with their defaults, on the model of seed
0 of each attack. The race of the first page is that of BadNets.

Ordinary purifications in a store of their own, copied to assets/recordings in the run-folder
format, the weights in half precision. Delete a folder there to record it again.
"""

from __future__ import annotations

import shutil

from evidence.computing import of_zoo, purified
from evidence.zoo import attacks, halve
from ngf.config import PurifySpec
from ngf.places import RECORDINGS, runs_dir
from ngf.runs.folder import EVENTS, REQUEST, RESULT, SPEC, purified_weights
from ngf.runs.recorded import LANES, recorded
from ngf.runs.store import Store


def specs() -> list[PurifySpec]:
    return [recorded(attack) for attack in attacks() if attack != "none"]


def missing() -> list[str]:
    return [spec.parent for spec in specs() if not (RECORDINGS / spec.id / RESULT).exists()]


def store() -> Store:
    """Where they are computed."""
    return Store(runs_dir() / "recordings")


def make(run_id: str) -> None:
    """Purify that model and copy what ships of it; the result last, with it a run counts as
    there.
    """
    run = purified(store(), of_zoo(store(), run_id).id, LANES)
    target = RECORDINGS / run.id
    target.mkdir(parents=True, exist_ok=True)
    weights = [purified_weights(lane) for lane in run.spec.lane_names()]
    for file in (SPEC, REQUEST, EVENTS, *weights):
        shutil.copy2(run.path / file, target / file)
    for file in weights:
        halve(target / file)
    shutil.copy2(run.path / RESULT, target / RESULT)
    left = {lane: made["after"]["asr"] for lane, made in run.finished()["lanes"].items()}
    print(f"{run_id}: attack success rate left {left}", flush=True)
