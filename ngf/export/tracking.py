"""The events of a run for a tracker of experiments: TensorBoard, Weights & Biases, Trackio.

None of them is installed with the project. What is asked of a tracker is little, so anything of
their shape fits: `init(project=..., name=..., config=...)`, then `log(numbers, step=...)`, then
`finish()`; TensorBoard's writer has `add_scalar(name, number, step)` and `close()`. Some trackers
send what they are given to a server: nothing is logged that nobody asked to be logged.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from ngf.options import SpecError
from ngf.runs.folder import FINAL
from ngf.runs.store import Run

TRACKERS = {"tensorboard": "tensorboard", "wandb": "wandb", "trackio": "trackio"}  # name -> package
PROJECT = "backdoor-removal"
_EVERY = 0.5  # seconds between two looks at a run that goes on
_NO_NUMBERS = ("seq", "t", "attempt", "step", "steps")  # of events: they say when, not what


class Tracker(Protocol):
    """Where numbers go."""

    def log(self, numbers: Mapping[str, float], step: int) -> Any: ...

    def finish(self) -> Any: ...


class _TensorBoard:
    """TensorBoard's writer in the shape of the others."""

    def __init__(self, run: Run, folder: Path) -> None:
        found = import_module("torch.utils.tensorboard")
        self._writer = found.SummaryWriter(log_dir=str(folder / run.id))
        self._writer.add_text("specification", f"```\n{json.dumps(run.spec.to_json())}\n```")

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def finish(self) -> None:
        self._writer.close()


def tracker(name: str, run: Run, folder: Path) -> Tracker:
    """The tracker of that name, told what `run` is. Raises SpecError where there is none, or where
    its package is not installed.

    folder: where TensorBoard writes.
    """
    if name not in TRACKERS:
        raise SpecError(f"Unknown tracker {name!r}. Allowed: {', '.join(TRACKERS)}.")
    try:
        if name == "tensorboard":
            return _TensorBoard(run, folder)
        made: Any = import_module(name)
    except ImportError as error:
        raise SpecError(
            f"{name} is not installed ({error}). Install it beside the project: "
            f"pip install {TRACKERS[name]}"
        ) from error
    made.init(project=PROJECT, name=run.id, config=run.spec.to_json())
    found: Tracker = made
    return found


def numbers_of(event: Mapping[str, Any]) -> tuple[int, dict[str, float]] | None:
    """Step and numbers of an event, named `lane/number`; None for one that has none."""
    step = event.get("step")
    if not isinstance(step, int) or event["type"] == "resumed":
        return None
    lane = f"{event['lane']}/" if event.get("lane") else ""
    found = {
        f"{lane}{name}": float(value)
        for name, value in event.items()
        if name not in _NO_NUMBERS and isinstance(value, (int, float)) and type(value) is not bool
    }
    return (step, found) if found else None


def send(run: Run, to: Tracker, *, follow: bool, wait: Callable[[float], None] = time.sleep) -> int:
    """Log every step of `run` so far, with `follow` also those to come; returns how many."""
    seen = count = 0
    try:
        while True:
            over = not follow or run.status in FINAL  # asked first: what comes after is seen below
            for event in run.events(seen):
                seen = event["seq"] + 1
                if (found := numbers_of(event)) is not None:
                    to.log(found[1], step=found[0])
                    count += 1
            if over:
                return count
            wait(_EVERY)
    finally:
        to.finish()
