"""Files as `evidence.minima` and `evidence.minima_purified` write them, of models whose sharpness
is known: by formula from the clean loss, times an effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evidence.sharpness_table import MEASURES
from tests.helpers.simulated_sharpness import LOG_LOSS, curve

ATTACKS = ("badnets", "blend", "wanet", "sig", "lira", "issba")
ALONG_TRAINING = [
    name
    for name in MEASURES
    if not name.startswith(("input_", "batch_")) and name != "filter_lambda_max"
]
ENVIRONMENT = {"hardware": "Made up", "torch": "0"}
File = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class World:
    """effect: log ratio backdoored / benign of every measure at the same loss; loss: of the loss.
    purified: log ratio after / before at the same loss; purified_loss: of the loss. measures: those
    that were measured.
    """

    benign: int = 8
    attacks: Sequence[str] = ATTACKS
    seeds: int = 3
    points: int = 6
    effect: float = 0.0
    loss: float = 0.5
    purified: float = -0.3
    purified_loss: float = 0.2
    noise: float = 0.1
    data: str = "signs"
    images: Sequence[str] = ("train", "test")
    measures: Sequence[str] = tuple(MEASURES)


def _row(
    world: World, rng: np.random.Generator, log_loss: float, above: float, names, **keys: Any
) -> dict[str, Any]:
    shared = rng.normal(0, world.noise)
    values = {
        name: float(np.exp(curve(np.array(log_loss)) + above + shared + rng.normal(0, 0.05)))
        for name in names
        if name in world.measures
    }
    found = dict.fromkeys(MEASURES) | values
    about = {"data": world.data, "method": "", "purification_seed": None, **keys}
    loss = float(np.exp(log_loss))
    return about | {"n": 1000, "loss": loss, "loss_stderr": 0.1 * loss, "ca": 1 - loss / 2} | found


def minima(world: World, seed: int = 0) -> list[File]:
    """One file per model, benign ones with checkpoints."""
    rng = np.random.default_rng(seed)
    files = []
    models = [("none", k) for k in range(world.benign)]
    models += [(attack, k) for attack in world.attacks for k in range(world.seeds)]
    for attack, number in models:
        name = f"{world.data}-{attack}-s{number}"
        keys = {"run": name, "attack": attack, "seed": number, "steps": world.points}
        rows = []
        for images in world.images:
            attacked = attack != "none"
            end = LOG_LOSS + (world.loss if attacked else 0.0) + rng.normal(0, 0.3)
            more = {"images": images, "kind": "final", "step": world.points}
            above = world.effect if attacked else 0.0
            rows.append(_row(world, rng, end, above, MEASURES, **keys, **more))
            if attacked:
                continue
            for step, at in enumerate(np.linspace(-1.5, end, world.points)[:-1], 1):
                more = {"images": images, "kind": "checkpoint", "step": step}
                rows.append(_row(world, rng, float(at), 0.0, ALONG_TRAINING, **keys, **more))
        files.append({"rows": rows, "environment": ENVIRONMENT})
    return files


def purified(world: World, files: Sequence[File], seeds: int = 5, steps: int = 3) -> list[File]:
    """What two methods make of the backdoored models of these files, step by step."""
    rng = np.random.default_rng(99)
    out = []
    for file in files:
        before = [row for row in file["rows"] if row["attack"] != "none"]
        rows = []
        for row in before:
            for method in ("ngf", "ngf, with regularizer"):
                for number in range(seeds):
                    for step in range(steps + 1):
                        share = step / steps
                        at = np.log(row["loss"]) + share * world.purified_loss
                        above = world.effect + share * world.purified
                        keys = {key: row[key] for key in ("run", "attack", "seed", "images")}
                        keys |= {"kind": "purified", "method": method, "step": step}
                        keys |= {"purification_seed": number, "steps": steps}
                        names = ALONG_TRAINING if step == steps else ("lambda_max", "fisher_trace")
                        rows.append(_row(world, rng, float(at), above, names, **keys))
        if rows:
            out.append({"rows": rows, "environment": ENVIRONMENT})
    return out
