"""Executes a measurement as a run folder: from its specification to arrays.npz and result.json.

A measurement is short and repeats exactly for its seed, so it keeps no checkpoint: after a pause or
a crash it starts again. What was measured before that stays in arrays.npz, whose `done` is then
False.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from analysis.images import select
from analysis.measurements.base import Measurement
from analysis.reactivation import material
from analysis.result import Partial
from ngf.catalogue import build
from ngf.checkpoints.fork import model_at_start
from ngf.checkpoints.waypoints import LOOK_SECONDS, Waypoint, waypoints
from ngf.checkpoints.weights import check_lane, load_attack, load_model, training_of
from ngf.config import MeasureSpec, Target
from ngf.data import Images, Splits, load
from ngf.environment import device, environment, exact_numerics
from ngf.options import SpecError
from ngf.runs.files import replacing
from ngf.runs.folder import ARRAYS, UNFINISHED, steps_at
from ngf.runs.folder import waypoints as waypoints_folder
from ngf.runs.recorder import Recorder
from ngf.runs.slots import share_of_time, usable_cores
from ngf.runs.store import MeasureRun, PurifyRun, Run, Store, TrainRun, follows, open_run
from ngf.training.run import initial_model

WRITE_SECONDS = 1.0  # between two writings of arrays.npz, at least


def run(path: Path) -> None:
    """Execute the measurement in the run folder `path`.

    Raises what `Recorder.check` raises when the run is paused or cancelled, SpecError for a folder
    that is no measurement, and whatever the measurement raises.
    """
    exact_numerics()
    store = Store(path.parent)
    asked = open_run(store, path)
    if not isinstance(asked, MeasureRun):
        raise SpecError(f"{asked.id} is no measurement.")
    recorder, spec = Recorder(path), asked.spec
    for left in path.glob(f".{ARRAYS}-*.tmp"):
        left.unlink()  # of an attempt that was killed while it wrote
    if recorder.attempt > 1:
        recorder.emit("resumed", attempt=recorder.attempt, step=0)
    measurement: Measurement = build("measurements", spec.measurement)
    recorder.emit("phase", phase="loading model and data")
    model, given = subject(measurement, spec, store, recorder.check)
    images, labels = images_of(measurement, spec, store)
    recorder.emit("phase", phase="measuring")
    where = device()
    partials = measurement.measure(
        model, images.to(where), labels.to(where), seed=spec.seed, **given
    )
    if follows(spec):
        partials = unhurried(partials, store.get(Target.parse(spec.target).run), recorder.check)
    last = follow(partials, measurement.budget, recorder)
    recorder.finish(
        {"values": dict(last.values), "complete": last.done, "environment": environment()}
    )


def subject(
    measurement: Measurement, spec: MeasureSpec, store: Store, check: Callable[[], None]
) -> tuple[nn.Module, dict[str, Any]]:
    """The measured model, and what `measurement.needs()` names, as arguments of `measure`.

    check: called while the weights along a run are waited for; it may raise to stop.
    """
    where, needs, target = device(), measurement.needs(), Target.parse(spec.target)
    run = store.get(target.run)
    reference = start = None
    if isinstance(run, PurifyRun):
        check_lane(run, run.spec.lane_name(target.lane))
        if needs.reference:
            reference = load_model(store, run.spec.parent, where).model
        if needs.path:  # but for a fork, its first weights are those of the reference
            same = reference if not run.spec.start else None
            start = same or model_at_start(store, run.spec, where)
    given: dict[str, Any] = {}
    if needs.reference:
        given["reference"] = reference
    if needs.others:
        named = measurement.others()
        given["others"] = [load_model(store, name, where).model for name in named]
    if needs.poisoned:
        if not isinstance(run, PurifyRun):
            raise SpecError(f"{run.id} is no purification.")
        count = getattr(measurement, needs.poisoned)
        given["material"] = material(store, run, spec.seed, count).to(where)
    if needs.path == "needed":  # its run may still be going on, without final weights
        start = start or initial_model(training_of(store, run.id).spec).to(where)
        return start, {**given, "path": path_of(run, target.lane, start, check)}
    if needs.path == "kept" and start is not None and steps_at(_folder(run, target.lane)):
        given["path"] = path_of(run, target.lane, start, check)
    return load_model(store, spec.target, where).model, given


def images_of(measurement: Measurement, spec: MeasureSpec, store: Store) -> tuple[Tensor, Tensor]:
    """The images and labels that are measured on, as `select` gives them."""
    origin = training_of(store, Target.parse(spec.target).run)
    trained = origin.spec
    splits = load(
        trained.source,
        seed=trained.seed,
        num_train=trained.training.num_images,
        revision=trained.revision,
    )
    whole = everything(splits) if trained.imported and measurement.whole else None
    return select(
        splits, load_attack(origin), measurement.data, measurement.num_images, spec.seed, whole
    )


def everything(splits: Splits) -> Images:
    """All images that came with an imported model: what judges no purification spares none."""
    pool = splits.source.facts["pools"]["holdout"]
    kept = splits.source.load("holdout", np.arange(pool))
    return Images(
        torch.cat([kept.images, splits.test.images]), torch.cat([kept.labels, splits.test.labels])
    )


def unhurried(
    partials: Iterator[Partial], run: Run, check: Callable[[], None]
) -> Iterator[Partial]:
    """`partials` with rests between them while `run` goes on, so that it is hardly slower.

    check: called while it rests; it may raise to stop.
    """
    share = share_of_time(usable_cores())
    worked = time.process_time()
    for partial in partials:
        yield partial
        rested = time.monotonic() + (time.process_time() - worked) * (1 / share - 1)
        while time.monotonic() < rested and run.status in UNFINISHED:
            check()
            time.sleep(LOOK_SECONDS)
        worked = time.process_time()


def follow(partials: Iterator[Partial], budget: float, recorder: Recorder) -> Partial:
    """Write down what a measurement yields, until it is complete or `budget` seconds are over, and
    return the last partial result.

    budget: 0 for no limit.
    """
    path = recorder.path / ARRAYS
    last, written, started = None, -float("inf"), time.monotonic()
    try:
        for last in partials:
            recorder.emit("partial", **last.values, fraction=last.fraction, done=last.done)
            if time.monotonic() - written > WRITE_SECONDS:
                save_arrays(path, last)
                written = time.monotonic()
            if budget and not last.done and time.monotonic() - started > budget:
                break
            recorder.check()
    finally:  # also when stopped: what is there stays, marked by `done`
        if last is not None:
            save_arrays(path, last)
    if last is None:
        raise RuntimeError("The measurement ended without a result.")
    return last


def _folder(run: Run, lane: str) -> Path:
    """Where `run` keeps the weights along its way; of a purification without a lane, the first
    lane.
    """
    if isinstance(run, PurifyRun):
        return run.path / waypoints_folder(lane or run.spec.lane_names()[0])
    return run.path / waypoints_folder()


def path_of(run: Run, lane: str, start: nn.Module, check: Callable[[], None]) -> Iterator[Waypoint]:
    """The weights along `run`, from those of `start` on; while the run goes on, waits for more.

    check: called while it waits; it may raise to stop.

    Raises SpecError for a run that has kept none.
    """
    folder = _folder(run, lane)
    if run.status == "done" and not steps_at(folder):
        raise SpecError(
            f"{run.id} kept no weights on its way: runs that ship keep the last ones "
            "only. Start a run of your own in the Lab."
        )

    def going() -> bool:
        check()
        return run.status in UNFINISHED

    def steps() -> int:
        """How many the run plans, as far as it has said so."""
        if isinstance(run, TrainRun):
            return run.spec.training.epochs
        said = (event for event in reversed(run.outline()) if event.get("lane") == folder.name)
        return next((event["steps"] for event in said if event["type"] == "step"), 0)

    state = {name: value.detach().clone() for name, value in start.state_dict().items()}
    return waypoints(folder, steps, state, going)


def save_arrays(path: Path, partial: Partial) -> None:
    """Write the arrays of a partial result, with `done` and `fraction`, atomically."""
    arrays: dict[str, Any] = {
        **partial.arrays,
        "done": np.array(partial.done),
        "fraction": np.array(partial.fraction),
    }
    with replacing(path) as file:
        np.savez(file, **arrays)
