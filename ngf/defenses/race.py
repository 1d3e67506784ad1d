"""Runs the lanes of a purification side by side and measures CA, ASR and RA between their steps.

Of a lane's defense it asks what `ngf.defenses.contract` names and nothing else. Defenses do not
evaluate themselves, so none can peek. Measuring takes at most a third of the time: a lane is
measured again only when all measuring so far is within half of all working so far.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ngf.catalogue import build
from ngf.checkpoints.waypoints import Keeper
from ngf.checkpoints.weights import WeightsError
from ngf.config import PurifySpec
from ngf.data import Splits
from ngf.defenses.contract import Defense, Event, Problem, Purification, Step
from ngf.defenses.fine_tuning.options import FOLDS_OF
from ngf.evaluate import Rates, TestSet
from ngf.finite import Diverged, check_weights
from ngf.predictions import Predict, predict, quickest
from ngf.runs.files import plain
from ngf.runs.folder import waypoints
from ngf.runs.recorder import Recorder

_CHECKPOINT_SECONDS = 1.0  # what a kill may cost; a checkpoint takes some milliseconds


class Lane:
    """One defense at work in a run.

    seconds: of its own steps, without the measuring.
    diverged: where and why it ended before its end, and what to do: `step`, `message`, `advice`;
        None for a lane that is sound. What it did until then stays in `summary`.
    """

    def __init__(self, name: str, purification: Purification, keep: Keeper) -> None:
        self.name, self.purification, self.keep = name, purification, keep
        self.seconds, self.done = 0.0, False
        self.diverged: dict[str, Any] | None = None
        self._summary: dict[str, Any] = {}  # of a lane that diverged; its model is of no use
        self._events: Iterator[Event] | None = None

    @property
    def model(self) -> nn.Module:
        return self.purification.model

    def advance(self) -> Event | None:
        """The next event, or None at the end. Raises Diverged when parameters or buffers that may
        be kept or measured are not finite.
        """
        if self._events is None:
            self._events = iter(self.purification)
        started = time.monotonic()
        try:
            event = next(self._events, None)
            if isinstance(event, Step) and self.keep.may_keep(event.step, event.steps):
                check_weights(self.model.state_dict(), event.step)
        finally:
            self.seconds += time.monotonic() - started
        self.done = event is None
        return event

    def end(self, error: Diverged) -> None:
        """Give the lane up for `error`."""
        step = max(0, self.purification.step) if error.step is None else error.step
        error = error.at(step)
        self.diverged = {"step": step, "message": str(error), "advice": error.advice}
        self._summary = plain(self.purification.summary())
        self.done = True

    def summary(self) -> dict[str, Any]:
        """For result.json: what was done and what it took, and how it ended if it diverged."""
        seconds = round(self.seconds, 2)
        if self.diverged is not None:
            return {**self._summary, "seconds": seconds, "diverged": self.diverged}
        return {**self.purification.summary(), "seconds": seconds}

    def state_dict(self) -> dict[str, Any]:
        if self.diverged is not None:
            about = {"diverged": self.diverged, "summary": self._summary}
            return {"seconds": self.seconds, **about}
        return {"seconds": self.seconds, "purification": self.purification.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.seconds = state["seconds"]
        if "diverged" in state:
            self.diverged, self._summary, self.done = state["diverged"], state["summary"], True
        else:
            self.purification.load_state_dict(state["purification"])


class Pace:
    """Says when measuring is due: first and last step always, else within a third of the time."""

    def __init__(self) -> None:
        self.working = self.measuring = 0.0

    def due(self, step: int, steps: int) -> bool:
        return step in (0, steps) or self.measuring <= 0.5 * self.working


class LiveRates:
    """Measures a lane between its steps, when that is due: first and last in float32, between them
    as `ngf.predictions.quickest` has it.
    """

    def __init__(self, images: TestSet) -> None:
        self.pace, self._images = Pace(), images
        self._together = torch.cat(images.sets)  # few, and quicker than one set after the other
        self._quickest: Predict | None = None
        self._start: Rates | None = None  # the same for all lanes: they begin with one model

    def after(self, step: Step, model: nn.Module) -> dict[str, float | None]:
        """`ca`, `asr`, `ra`; nothing when it is not due.

        Raises WeightsError when the model that came gives no finite outputs, Diverged when the one
        after the last step does. On the way nothing is said of that: which steps are measured
        depends on the time it takes, and how a run ends must not.
        """
        if step.step == 0:
            try:
                self._start = self._start or self._measured(model, predict)
            except Diverged as error:
                raise WeightsError(str(error)) from error
            return _rates(self._start)
        if not self.pace.due(step.step, step.steps):
            return {}
        started = time.monotonic()
        try:
            if step.step == step.steps:
                return _rates(self._measured(model, predict))
            self._quickest = self._quickest or quickest(model, self._together)
            return _rates(self._measured(model, self._quickest))
        except Diverged as error:
            if step.step < step.steps:
                return {}
            raise error.at(step.step) from error
        finally:
            self.pace.measuring += time.monotonic() - started

    def _measured(self, model: nn.Module, how: Predict) -> Rates:
        called = how(model, self._together)
        return self._images.rates(called.split([len(images) for images in self._images.sets]))


def _rates(rates: Rates) -> dict[str, float | None]:
    return {"ca": rates.ca, "asr": rates.asr, "ra": rates.ra}


def race(
    spec: PurifySpec,
    fresh_model: Callable[[], nn.Module],
    splits: Splits,
    images: TestSet,
    recorder: Recorder,
    where: torch.device,
) -> list[Lane]:
    """Run every lane to its end, one step each in turn. A lane that diverges ends alone; Diverged
    is raised when none is left.

    fresh_model: the model to purify, another copy each time.
    images: the part of the test set that the live curves are measured on.
    """
    lanes = []
    clean = splits.clean.to(where)
    validation = splits.validation.to(where) if spec.choosing == "reserved" else None
    for name, choice in zip(spec.lane_names(), spec.lanes, strict=True):
        flips = splits.source.facts["survives_flip"]
        folds = FOLDS_OF[spec.choosing]
        problem = Problem(fresh_model(), clean, validation, spec.seed, flips, folds)
        defense: Defense = build("defenses", choice)
        purification = defense.purify(problem)
        keep = Keeper(recorder.path / waypoints(name), problem.model, purification.steps)
        lanes.append(Lane(name, purification, keep))
    live = LiveRates(images)
    _resume(recorder, lanes)
    saved = time.monotonic()

    def write(folder: Path) -> None:
        torch.save({lane.name: lane.state_dict() for lane in lanes}, folder / "lanes.pt")

    while active := [lane for lane in lanes if not lane.done]:
        # The lane that is behind moves first: all stay within a step of each other.
        lane = min(active, key=lambda lane: lane.purification.step)
        before = lane.seconds
        try:
            event = lane.advance()
            if event is not None:
                _tell(recorder, lane, event, live)
        except Diverged as error:
            give_up(recorder, lane, error)
        live.pace.working += lane.seconds - before
        recorder.check(write)
        if time.monotonic() - saved > _CHECKPOINT_SECONDS:
            recorder.save_state(write)
            saved = time.monotonic()
    check_left(lanes)
    return lanes


def give_up(recorder: Recorder, lane: Lane, error: Diverged) -> None:
    """End a lane that diverged, and say so in the events."""
    lane.end(error)
    assert lane.diverged is not None
    about = {name: lane.diverged[name] for name in ("step", "message")}
    recorder.emit("diverged", lane=lane.name, **about)


def check_left(lanes: Sequence[Lane]) -> None:
    """Raise Diverged when every lane has diverged, with the step of each."""
    ends = {lane.name: lane.diverged for lane in lanes if lane.diverged is not None}
    if len(ends) < len(lanes):
        return
    if len(lanes) == 1:
        (only,) = ends.values()
        raise Diverged(only["message"].removesuffix("."), advice=only["advice"])
    steps = ", ".join(f"{name} at step {about['step']}" for name, about in ends.items())
    raise Diverged(
        f"Every lane diverged: {steps}",
        advice="Start a new run with smaller learning rates; the curves up to these steps are "
        "kept with this one.",
    )


def _tell(recorder: Recorder, lane: Lane, event: Event, live: LiveRates) -> None:
    """Write an event; of a step also keep the weights and, when it is due, measure the model."""
    measured: Mapping[str, float | None] = {}
    if isinstance(event, Step):
        if event.step <= recorder.last_step(lane.name):
            return  # written by an earlier attempt
        measured = live.after(event, lane.model)
        if event.step > 0:
            lane.keep(event.step, lane.model, event.steps)
    recorder.emit(event.kind, lane=lane.name, **asdict(event), **measured)


def _resume(recorder: Recorder, lanes: list[Lane]) -> None:
    """Put the lanes back to the last checkpoint, if there is one."""
    folder = recorder.state()
    if folder is None:
        return
    state = torch.load(folder / "lanes.pt", weights_only=True)
    for lane in lanes:
        lane.load_state_dict(state[lane.name])
    going = [lane.purification.step for lane in lanes if lane.diverged is None]
    step = max(0, min(going, default=0))
    recorder.emit("resumed", attempt=recorder.attempt, step=step)
