"""Runs the lanes of a purification side by side and measures CA, ASR and RA between their steps.

Defenses do not evaluate themselves, so none can peek. Measuring takes at most a third of the time:
a lane is measured again only when all measuring so far is within half of all working so far.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import torch

from ngf.catalogue import build
from ngf.checkpoints.waypoints import Keeper
from ngf.config import PurifySpec
from ngf.data import Splits
from ngf.defenses.contract import Chosen, LayerScore, Step
from ngf.defenses.fine_tuning.choosing import Problem, Purification
from ngf.evaluate import TestSet
from ngf.runs.recorder import Recorder

_CHECKPOINT_SECONDS = 1.0


class Lane:
    """One defense at work in a run. `seconds` counts its own steps, not the measuring; `keep`
    takes its weights.
    """

    def __init__(self, name: str, purification: Purification, keep: Keeper) -> None:
        self.name, self.purification = name, purification
        self.seconds, self.done = 0.0, False
        self.keep = keep
        self._events = None

    @property
    def model(self) -> torch.nn.Module:
        return self.purification.model

    def advance(self) -> LayerScore | Chosen | Step | None:
        """The next event, or None at the end."""
        if self._events is None:
            self._events = iter(self.purification)
        started = time.monotonic()
        event = next(self._events, None)
        self.seconds += time.monotonic() - started
        self.done = event is None
        return event

    def summary(self) -> dict:
        """For result.json: what was chosen and what it took."""
        chosen = self.purification.chosen
        return {
            "layer": chosen.layer,
            "lr": chosen.lr,
            "why": chosen.why,
            "num_parameters": chosen.num_parameters,
            "steps": self.purification.tuning.step,
            "distance": self.purification.tuning.distance(),
            "seconds": round(self.seconds, 2),
        }

    def state_dict(self) -> dict:
        return {"seconds": self.seconds, "purification": self.purification.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.seconds = state["seconds"]
        self.purification.load_state_dict(state["purification"])


class Pace:
    """Says when measuring is due: first and last step always, else within a third of the time."""

    def __init__(self) -> None:
        self.working = self.measuring = 0.0

    def due(self, step: int, steps: int) -> bool:
        return step in (0, steps) or self.measuring <= 0.5 * self.working


def purify(
    spec: PurifySpec,
    fresh_model,
    splits: Splits,
    live: TestSet,
    recorder: Recorder,
    where: torch.device,
) -> list[Lane]:
    """Run every lane to its end, one step each in turn. live: the part of the test set for
    the curves.
    """
    lanes = []
    clean, validation = splits.clean.to(where), splits.validation.to(where)
    for name, choice in zip(spec.lane_names(), spec.lanes, strict=True):
        problem = Problem(
            fresh_model(), clean, validation, spec.seed, splits.source.facts["survives_flip"]
        )
        defense = build("defenses", choice)
        keep = Keeper(recorder.path / "path" / name, problem.model, defense.steps)
        lanes.append(Lane(name, Purification(defense, problem), keep))
    pace = Pace()
    if not _resume(recorder, lanes):
        rates = live.evaluate(lanes[0].model)
        for lane in lanes:
            recorder.emit(
                "step",
                lane=lane.name,
                step=0,
                steps=lane.purification.defense.steps,
                loss=None,
                lr=lane.purification.defense.lr,
                damping=None,
                kl=None,
                update_norm=0.0,
                distance=0.0,
                fisher_trace=None,
                ca=rates.ca,
                asr=rates.asr,
                ra=rates.ra,
            )
    saved = time.monotonic()

    def write(folder: Path) -> None:
        torch.save({lane.name: lane.state_dict() for lane in lanes}, folder / "lanes.pt")

    while active := [lane for lane in lanes if not lane.done]:
        # The lane that is behind moves first: all stay within a step of each other.
        lane = min(
            active,
            key=lambda lane: lane.purification.tuning.step if lane.purification.tuning else -1,
        )
        before = lane.seconds
        event = lane.advance()
        pace.working += lane.seconds - before
        if isinstance(event, Step):
            _emit_step(recorder, lane, event, live, pace)
        elif isinstance(event, LayerScore):
            recorder.emit("layer", lane=lane.name, **asdict(event))
        elif isinstance(event, Chosen):
            recorder.emit("chosen", lane=lane.name, **asdict(event))
        recorder.check(write)
        if time.monotonic() - saved > _CHECKPOINT_SECONDS:
            recorder.save_state(write)
            saved = time.monotonic()
    return lanes


def _emit_step(recorder: Recorder, lane: Lane, event: Step, live: TestSet, pace: Pace) -> None:
    if event.step <= recorder.last_step(lane.name):
        return  # written by an earlier attempt
    lane.keep(event.step, lane.model)
    measured = {}
    if pace.due(event.step, event.steps):
        started = time.monotonic()
        rates = live.evaluate(lane.model)
        pace.measuring += time.monotonic() - started
        measured = {"ca": rates.ca, "asr": rates.asr, "ra": rates.ra}
    recorder.emit("step", lane=lane.name, **asdict(event), **measured)


def _resume(recorder: Recorder, lanes: list[Lane]) -> bool:
    """Put the lanes back to the last checkpoint; False when there is none."""
    folder = recorder.state()
    if folder is None:
        return False
    state = torch.load(folder / "lanes.pt", weights_only=True)
    for lane in lanes:
        lane.load_state_dict(state[lane.name])
    steps = [lane.purification.tuning.step if lane.purification.tuning else 0 for lane in lanes]
    recorder.emit("resumed", attempt=recorder.attempt, step=min(steps))
    return True
