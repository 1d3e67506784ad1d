"""Measures the minima that purifications reach, and the weights on the way there.

One file per backdoored model in assets/evidence/minima_purified, rows as `evidence.minima` says,
of kind `purified`: for each method and each seed of the purification, at the steps whose weights
the run has kept, on training and on test images: loss, CA and curvature of plain cross-entropy,
whatever the method itself minimizes. On triggered images only loss, RA and ASR. With the
checkpoints of benign models, before and after can so be compared at matched loss and matched CA.
Of the first seed, the way is measured as well; its step 0 is the model before purification.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evidence.computing import of_zoo, purified
from evidence.minima import (
    CHECKPOINT,
    NOTHING,
    TRIGGERED,
    Pictures,
    Plan,
    Weights,
    rows,
    save,
    tell,
)
from evidence.shipped import MINIMA_PURIFIED, read
from evidence.zoo import specs
from ngf.checkpoints.waypoints import waypoint
from ngf.checkpoints.weights import load_model
from ngf.config import Choice, TrainSpec
from ngf.models.bounds import load_state
from ngf.options import SpecError
from ngf.runs.folder import steps_at, waypoints
from ngf.runs.store import PurifyRun, Store, TrainRun

# Method -> its defense; each is a lane of one race, so that all see the same images and batches.
METHODS = {
    "ngf": Choice("ngf"),
    "ngf, with regularizer": Choice("ngf", {"regularizer": 1.0}),
    "sgd": Choice("sgd"),
    "adam": Choice("adam"),
}
PURIFICATION_SEEDS = (0, 1, 2, 3, 4)
ATTACKS = ("badnets", "blend", "wanet")
MODEL_SEEDS = (0, 1)
POINTS = 5  # kept steps that are measured of each lane, the last one among them
ON_THE_WAY = Plan(
    measurements={"hessian_spectrum": {"steps": 6, "vectors": 1, "probes": 2}}, fisher_draws=1
)


def chosen_steps(kept: list[int], most: int = POINTS) -> list[int]:
    """At most `most` of the kept steps, evenly among them, the last one included."""
    if len(kept) <= most:
        return kept
    return [kept[round((k + 1) * len(kept) / most) - 1] for k in range(most)]


def purified_rows(
    store: Store, origin: TrainRun, run: PurifyRun, lane: str, method: str, pictures: Pictures
) -> Iterator[dict[str, Any]]:
    """The rows of one lane of a purification, at its last step, and with the first seed from step
    0 on.

    Raises SpecError for a lane that has kept no weights on its way.
    """
    folder = run.path / waypoints(lane)
    kept = steps_at(folder)
    if not kept:
        raise SpecError(f"{run.id}:{lane} has kept no weights on its way.")
    model = load_model(store, origin.id).model
    start = {name: value.detach().clone() for name, value in model.state_dict().items()}
    first = run.spec.seed == PURIFICATION_SEEDS[0]
    for step in [0, *chosen_steps(kept)] if first else kept[-1:]:
        state = waypoint(folder, step, kept[-1], start).state if step else start
        load_state(model, state)
        weights = Weights(
            run=origin,
            kind="purified",
            method=method,
            purification_seed=run.spec.seed,
            step=step,
            steps=kept[-1],
        )
        plan = CHECKPOINT if step == kept[-1] else ON_THE_WAY
        plans = {"train": plan, "test": plan, **dict.fromkeys(TRIGGERED, NOTHING)}
        yield from rows(weights, model.eval(), pictures, plans)


def file_of(run_id: str) -> Path:
    return MINIMA_PURIFIED / f"{run_id}.json"


def wanted() -> list[TrainSpec]:
    return [
        spec
        for spec in specs()
        if spec.data == "signs" and spec.attack.name in ATTACKS and spec.seed in MODEL_SEEDS
    ]


def todo(run_id: str) -> list[tuple[int, str]]:
    """Purification seed and method of what has no rows yet."""
    path = file_of(run_id)
    known = {
        (found["purification_seed"], found["method"])
        for found in (read(path)["rows"] if path.exists() else [])
    }
    planned = [(seed, method) for seed in PURIFICATION_SEEDS for method in METHODS]
    return [key for key in planned if key not in known]


def missing() -> list[str]:
    return [spec.id for spec in wanted() if todo(spec.id)]


def make(run_id: str) -> None:
    """Complete the file of one model, saved after each lane."""
    store = Store()
    origin, pictures = of_zoo(store, run_id), Pictures(store, run_id)
    for seed, method in todo(run_id):
        run = purified(store, run_id, tuple(METHODS.values()), seed)
        lane = run.spec.lane_names()[list(METHODS).index(method)]
        made = list(purified_rows(store, origin, run, lane, method, pictures))
        save(file_of(run_id), made)
        tell([one for one in made if one["images"] == "test"])
