"""A run is a folder: the names of its files, and the states that follow from them. Nothing else.

Whoever opens a file of a run takes its name from here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

# ---- what was asked for
SPEC = "spec.json"  # the specification; never changed, its hash is the folder's name
REQUEST = "request.json"  # who asked and when
CONTROL = "control"  # what was asked of it since: pause, cancel, or resume and a number of starts

# ---- what happens
LOCK = "lock"  # held by the process that executes it; the kernel drops it with the process
WRITER = "writer"  # held by the process that writes it, where that is not who holds the lock
ATTEMPTS = "attempts"  # how often it was started
CRASHES = "crashes"  # kills without any progress between them
THREADS = "threads"  # how many it computes with, the same in every attempt
RESERVE = ".reserve"  # space kept while it is executed, so that a full disk can still be reported
EVENTS = "events.jsonl"  # appended to, by one writer
LOG = "log.txt"  # what its process printed
STATE = "state"  # folder of the last checkpoint, from which it is resumed
BEFORE = "before"  # and a number: folder of what a failed attempt left, when it started anew
WAYPOINTS = "path"  # folder of weights on the way, one folder per lane

# ---- what comes out
RESULT = "result.json"  # its existence means done
ERROR = "error.json"  # its existence means failed
WEIGHTS = "model.safetensors"  # of a training
TRIGGER = "trigger.safetensors"  # what the attack of a training has learned
PREVIEW = "preview.npz"  # a few clean and triggered images of a training
ARRAYS = "arrays.npz"  # of a measurement
FORM = "form.json"  # of an imported model: the form in which its weights came
EXTRA = "extra.safetensors"  # what its file holds beside what its network has a place for
CARD = "card.json"  # of a model of the zoo: its rates and its curvature, measured afterwards


def purified_weights(lane: str) -> str:
    """Name of the file that holds what a lane of a purification made of the model."""
    return f"purified.{lane}.safetensors"


def waypoints(lane: str = "") -> str:
    """Name of the folder that holds the weights on the way of a lane, or of a training."""
    return f"{WAYPOINTS}/{lane or 'model'}"


def steps_at(folder: Path) -> list[int]:
    """Steps whose weights lie in a folder of waypoints now, ascending."""
    return sorted(int(path.stem) for path in folder.glob("*.safetensors"))


Command = Literal["pause", "resume", "cancel"]
COMMANDS: tuple[Command, ...] = ("pause", "resume", "cancel")

Status = Literal["queued", "running", "paused", "cancelled", "failed", "lost", "done"]
STATUSES: tuple[Status, ...] = (
    "queued",
    "running",
    "paused",
    "cancelled",
    "failed",
    "lost",
    "done",
)
ACTIVE: tuple[Status, ...] = ("queued", "running")  # moves, or will move by itself
OPEN: tuple[Status, ...] = (*ACTIVE, "paused")  # can still be told to go on or to stop
UNFINISHED: tuple[Status, ...] = (*OPEN, "lost")  # more may come of it
FINAL: tuple[Status, ...] = ("done", "failed", "cancelled")
AGAIN: tuple[Status, ...] = ("failed", "cancelled")  # what is asked for anew is queued again
