"""Runs that the evidence rests on, computed where they are not there; and how a step fails."""

from __future__ import annotations

from ngf.config import Choice, PurifySpec, Spec, TrainSpec
from ngf.runs.child import execute
from ngf.runs.store import PurifyRun, Run, Store, TrainRun
from ngf.runs.submit import submit

LANES = tuple(Choice(name) for name in ("ngf", "sgd", "adam"))  # with the Lab's defaults


class Failed(RuntimeError):
    """A step cannot go on; the message says why, and what to do."""


def trained(store: Store, spec: TrainSpec) -> TrainRun:
    """The finished training, computed if it is not there. Raises `Failed`, for weak models, too."""
    run = finished(store, spec)
    assert isinstance(run, TrainRun)
    return run


def purified(
    store: Store, parent: str, lanes: tuple[Choice, ...] = LANES, seed: int = 0
) -> PurifyRun:
    """The finished purification of a model, computed when it is not there. Raises `Failed`.

    seed: of the purification; draws its clean images and their batches.
    """
    run = finished(store, PurifySpec(parent=parent, lanes=lanes, seed=seed))
    assert isinstance(run, PurifyRun)
    if ended := run.diverged():
        steps = ", ".join(f"{lane} at step {step}" for lane, step in ended.items())
        raise Failed(f"{run.id}: diverged: {steps}. A table needs every lane.")
    return run


def finished(store: Store, spec: Spec) -> Run:
    """The finished run, computed if it is not there. Raises `Failed`, for weak models, too."""
    run = _strong(submit(spec, store))  # of a weak model no purification is computed either
    if run.status != "done" and (ended := execute(run)) != "done":
        error = run.error or {"message": f"It is {ended}.", "advice": ""}
        raise Failed(f"{run.id}: {error['message']} {error['advice']}".rstrip())
    return _strong(run)


def _strong(run: Run) -> Run:
    """The run, unless its model is too weak for its numbers to mean much. Raises `Failed`."""
    if run.weak:
        raise Failed(f"{run.id} is weak, and evidence needs more. {run.weak}")
    return run


def of_zoo(store: Store, run_id: str) -> TrainRun:
    """A model of the zoo. Raises `Failed` when it is not there yet."""
    run = store.find(run_id)
    if not isinstance(run, TrainRun) or run.source != "zoo":
        raise Failed(f"{run_id} is not in the zoo yet: python -m evidence zoo")
    _strong(run)
    return run


def targets_of(run: PurifyRun) -> dict[str, str]:
    """What a purification made, by method, as `load_model` takes it."""
    return {lane: f"{run.id}:{lane}" for lane in run.finished()["lanes"]}
