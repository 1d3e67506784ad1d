"""Executes a measurement as a run folder: from its specification to arrays.npz and result.json.

A measurement is short and repeats exactly for its seed, so it keeps no checkpoint: after a pause or
a crash it starts again. What was measured before a stop stays in arrays.npz, whose `done` is then
False.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from analysis.result import Partial
from ngf.attacks.poison import poison, trigger_test_set
from ngf.catalogue import build
from ngf.checkpoints.waypoints import Waypoint, steps_at, waypoints
from ngf.checkpoints.weights import load_attack, load_model, train_run
from ngf.config import MeasureSpec, PurifySpec, SpecError, spec_from_json
from ngf.data import Images, Splits, load, to_float
from ngf.environment import device, environment, exact_numerics
from ngf.runs.files import read_json
from ngf.runs.recorder import Recorder
from ngf.runs.store import Run, Store
from ngf.training.run import initial_model

WRITE_SECONDS = 1.0  # arrays.npz is written no more often than this, and at the end


def run(path: Path) -> None:
    """Execute the measure run in folder `path`; raises Stopped when asked to, else an error."""
    exact_numerics()
    spec = spec_from_json(read_json(path / "spec.json"))
    if not isinstance(spec, MeasureSpec):
        raise SpecError(f"{spec.kind} runs are executed by ngf.training.run.")
    recorder, store, where = Recorder(path), Store(path.parent), device()
    for left in path.glob(".arrays-*.tmp"):
        left.unlink()  # of an attempt that was killed while it wrote
    if recorder.attempt > 1:
        recorder.emit("resumed", attempt=recorder.attempt, step=0)
    measurement = build("measurements", spec.measurement)
    recorder.emit("phase", phase="loading model and data")
    run_id, _, lane = spec.target.partition(":")
    target, origin = store.get(run_id), train_run(store, run_id)
    trained = origin.spec
    parent = target.spec.parent if isinstance(target.spec, PurifySpec) else None
    reference = load_model(store, parent, where).model if parent else None
    more: dict[str, Any] = {}
    if names := measurement.others():
        more["others"] = [load_model(store, name, where).model for name in names]
    if measurement.wants_path:  # its run may still be going on, without final weights
        model = reference if parent else initial_model(trained).to(where)
        more["path"] = path_of(target, lane, model, recorder.check)
    else:
        model = load_model(store, spec.target, where).model
        if measurement.draws_path and parent and steps_at(folder_of(target, lane)):
            more["path"] = path_of(target, lane, reference, recorder.check)
    splits = load(trained.data, seed=trained.seed, num_train=trained.training.num_images)
    images, labels = select(
        splits, load_attack(origin), measurement.data, measurement.num_images, spec.seed
    )
    recorder.emit("phase", phase="measuring")
    partial, written, started = None, -float("inf"), time.monotonic()
    try:
        for partial in measurement.measure(
            model, images.to(where), labels.to(where), seed=spec.seed, reference=reference, **more
        ):
            recorder.emit("partial", **partial.values, fraction=partial.fraction, done=partial.done)
            if time.monotonic() - written > WRITE_SECONDS:
                save_arrays(path / "arrays.npz", partial)
                written = time.monotonic()
            if (
                measurement.budget
                and not partial.done
                and time.monotonic() - started > measurement.budget
            ):
                break
            recorder.check()
    finally:  # also when stopped: what is there stays, marked by `done`
        if partial is not None:
            save_arrays(path / "arrays.npz", partial)
    recorder.finish(
        {"values": dict(partial.values), "complete": partial.done, "environment": environment()}
    )


def folder_of(run: Run, lane: str) -> Path:
    """Where `run` keeps the weights along its way; without a lane the first one of a
    purification.
    """
    return (
        run.path
        / "path"
        / (lane or (run.spec.lane_names()[0] if isinstance(run.spec, PurifySpec) else "model"))
    )


def path_of(run: Run, lane: str, start: nn.Module, check: Callable[[], None]) -> Iterator[Waypoint]:
    """The weights along `run`, from `start` on; waits while the run goes on, and calls `check`
    meanwhile.

    Raises SpecError for a run that kept none.
    """
    if isinstance(run.spec, PurifySpec):
        names = run.spec.lane_names()
        steps = build("defenses", run.spec.lanes[names.index(lane) if lane else 0]).steps
    else:
        steps = run.spec.training.epochs

    def going() -> bool:
        check()
        return run.status in ("queued", "running", "paused", "lost")

    folder = folder_of(run, lane)
    if run.status == "done" and not steps_at(folder):
        raise SpecError(
            f"{run.id} kept no weights on its way: runs of the zoo and recordings keep the last "
            "ones only. Start a run of your own in the Lab."
        )
    state = {name: value.detach().clone() for name, value in start.state_dict().items()}
    return waypoints(folder, steps, state, going)


def select(splits: Splits, attack, data: str, num_images: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images, float (N, C, H, W) in [0, 1], and the labels that `data` asks for, int64 (N,).

    The seed draws the images, the same ones for every model of a data set; triggered images are
    drawn from those that count for the ASR. N is smaller than `num_images` when there are fewer.
    `splits` are those of the model's training. Raises SpecError for triggered images of a model
    without an attack.
    """
    if data in ("train", "validation", "poisoned"):
        pool: Images = splits.validation if data == "validation" else splits.train
        if data == "poisoned":
            if hasattr(attack, "control"):
                raise SpecError(
                    "This attack makes its poisoned images anew in every batch, so there is no "
                    "mix to measure on. Allowed: clean, triggered_true, triggered_target, train, "
                    "validation."
                )
            pool = poison(pool, attack, len(splits.classes), splits.seed).data
        order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed))
        pool = pool.take(order[:num_images])
        return to_float(pool.images), pool.labels
    test: Images = splits.test
    if data != "clean":
        if not getattr(attack, "poison_rate", 0.0):
            raise SpecError(
                "This model was trained without an attack, so it has no triggered images. "
                "Allowed for it: data = clean."
            )
        test = test.take(attack.asr_mask(test.labels))
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(seed))
    test = test.take(order[:num_images])
    if data == "clean":
        return to_float(test.images), test.labels
    triggered = trigger_test_set(test, attack, len(splits.classes))
    labels = triggered.data.labels if data == "triggered_true" else triggered.wanted
    return to_float(triggered.data.images), labels


def save_arrays(path: Path, partial: Partial) -> None:
    """Write the arrays of a partial result, with `done` and `fraction`, atomically."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".arrays-", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(
                file,
                **partial.arrays,
                done=np.array(partial.done),
                fraction=np.array(partial.fraction),
            )
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes it private
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
