"""Runs the lanes of a purification side by side and measures CA, ASR and RA between their steps.

Of a lane's defense it asks what `ngf.defenses.contract` names and nothing else. Defenses do not
evaluate themselves, so none can peek. Measuring takes at most a third of the time: a lane is
measured again only when all measuring so far is within half of all working so far.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ngf.catalogue import build
from ngf.checkpoints.waypoints import Keeper
from ngf.config import PurifySpec
from ngf.data import Splits
from ngf.defenses.contract import Defense, Event, Problem, Purification, Step
from ngf.evaluate import Rates, TestSet
from ngf.runs.folder import waypoints
from ngf.runs.recorder import Recorder

_CHECKPOINT_SECONDS = 1.0  # what a kill may cost; a checkpoint takes some milliseconds


class Lane:
    """One defense at work in a run. `seconds` counts its own steps, not the measuring."""

    def __init__(self, name: str, purification: Purification, keep: Keeper) -> None:
        self.name, self.purification, self.keep = name, purification, keep
        self.seconds, self.done = 0.0, False
        self._events: Iterator[Event] | None = None

    @property
    def model(self) -> nn.Module:
        return self.purification.model

    def advance(self) -> Event | None:
        """The next event, or None at the end."""
        if self._events is None:
            self._events = iter(self.purification)
        started = time.monotonic()
        event = next(self._events, None)
        self.seconds += time.monotonic() - started
        self.done = event is None
        return event

    def summary(self) -> dict[str, Any]:
        """For result.json: what was done and what it took."""
        return {**self.purification.summary(), "seconds": round(self.seconds, 2)}

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "purification": self.purification.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.seconds = state["seconds"]
        self.purification.load_state_dict(state["purification"])


class Pace:
    """Says when measuring is due: first and last step always, else within a third of the time."""

    def __init__(self) -> None:
        self.working = self.measuring = 0.0

    def due(self, step: int, steps: int) -> bool:
        return step in (0, steps) or self.measuring <= 0.5 * self.working


class LiveRates:
    """Measures a lane between its steps, when that is due."""

    def __init__(self, images: TestSet) -> None:
        self.pace, self._images = Pace(), images
        self._start: Rates | None = None  # the same for all lanes: they begin with one model

    def after(self, step: Step, model: nn.Module) -> dict[str, float | None]:
        """`ca`, `asr`, `ra`; nothing when it is not due."""
        if step.step == 0:
            self._start = self._start or self._images.evaluate(model)
            return _rates(self._start)
        if not self.pace.due(step.step, step.steps):
            return {}
        started = time.monotonic()
        rates = self._images.evaluate(model)
        self.pace.measuring += time.monotonic() - started
        return _rates(rates)


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
    """Run every lane to its end, one step each in turn.

    fresh_model: the model to purify, another copy each time.
    images: the part of the test set that the live curves are measured on.
    """
    lanes = []
    clean, validation = splits.clean.to(where), splits.validation.to(where)
    for name, choice in zip(spec.lane_names(), spec.lanes, strict=True):
        flips = splits.source.facts["survives_flip"]
        problem = Problem(fresh_model(), clean, validation, spec.seed, flips)
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
        event = lane.advance()
        live.pace.working += lane.seconds - before
        if event is not None:
            _tell(recorder, lane, event, live)
        recorder.check(write)
        if time.monotonic() - saved > _CHECKPOINT_SECONDS:
            recorder.save_state(write)
            saved = time.monotonic()
    return lanes


def _tell(recorder: Recorder, lane: Lane, event: Event, live: LiveRates) -> None:
    """Write an event; of a step also keep the weights and, when it is due, measure the model."""
    measured: Mapping[str, float | None] = {}
    if isinstance(event, Step):
        if event.step <= recorder.last_step(lane.name):
            return  # written by an earlier attempt
        if event.step > 0:
            lane.keep(event.step, lane.model, event.steps)
        measured = live.after(event, lane.model)
    recorder.emit(event.kind, lane=lane.name, **asdict(event), **measured)


def _resume(recorder: Recorder, lanes: list[Lane]) -> None:
    """Put the lanes back to the last checkpoint, if there is one."""
    folder = recorder.state()
    if folder is None:
        return
    state = torch.load(folder / "lanes.pt", weights_only=True)
    for lane in lanes:
        lane.load_state_dict(state[lane.name])
    step = min(max(0, lane.purification.step) for lane in lanes)
    recorder.emit("resumed", attempt=recorder.attempt, step=step)
