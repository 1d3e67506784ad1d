"""A pipeline small enough to be killed hundreds of times: a float64 recurrence with checkpoints.

It is real in everything that concerns jobs: deterministic, resumed from its checkpoint, stopped by
its control file. What it does is told by the training settings of its spec: `epochs` is the number
of steps and `batch_size` the steps between two checkpoints; purifications and measurements count to
30.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from ngf.config import TrainSpec, spec_from_json
from ngf.options import Explained
from ngf.runs.folder import SPEC
from ngf.runs.recorder import Recorder

SECONDS_PER_STEP = 0.005
LONG = 777  # seed of a measurement that counts to 4,000
DEADLY = 666  # seed of a measurement that is killed after its first partial results


class Diverged(Explained, RuntimeError):
    kind = "diverged"
    advice = "Use a smaller learning rate."


def recurrence(value: float) -> float:
    return (
        3.9 * value * (1.0 - value)
    )  # chaotic: one lost or repeated step changes every later value


def run(path: Path) -> None:
    spec = spec_from_json(json.loads((path / SPEC).read_text()))
    steps, every = (4000 if spec.seed == LONG else 30), 5
    if isinstance(spec, TrainSpec):
        steps, every = spec.training.epochs, spec.training.batch_size
    recorder = Recorder(path)
    step, value = 0, (spec.seed + 1) / 1000
    if (state := recorder.state()) is not None:
        step, value = json.loads((state / "count.json").read_text())

    def write(folder: Path) -> None:
        (folder / "count.json").write_text(json.dumps([step, value]))

    if recorder.attempt > 1:
        recorder.emit("resumed", attempt=recorder.attempt, step=step)
    else:
        recorder.emit("phase", phase="training")
    _trouble(spec)
    if getattr(spec, "data", "") == "stuck":  # it saves, gets no further, and dies: again and again
        recorder.save_state(write)
        os.kill(os.getpid(), signal.SIGKILL)
    if spec.kind == "measure" and spec.seed == DEADLY:
        for part in range(recorder.attempt):  # each attempt says more than the one before
            recorder.emit("partial", value=time.time(), fraction=part / 1000, done=False)
        os.kill(os.getpid(), signal.SIGKILL)
    while step < steps:
        time.sleep(SECONDS_PER_STEP)
        step, value = step + 1, recurrence(value)
        recorder.emit("epoch", step=step, steps=steps, loss=value, ca=value, asr=None, ra=None)
        if step % every == 0:
            recorder.save_state(write)
        recorder.check(write)
    rates = {
        "ca": value,
        "asr": 0.5,
        "ra": 0.25,
        "n_clean": 100,
        "n_triggered": 90,
        "ca_interval": [0.0, 1.0],
        "asr_interval": [0.0, 1.0],
        "ra_interval": [0.0, 1.0],
    }
    recorder.finish(
        rates if isinstance(spec, TrainSpec) else {"before": rates, "after": rates, "lanes": {}}
    )


def _trouble(spec: object) -> None:
    """What goes wrong in a run is told by the name of its data."""
    name = getattr(spec, "data", "")
    if name == "suicide":
        print("about to be killed", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "diverges":
        raise Diverged("The loss is not a number any more.")
    if name == "bad":
        raise ValueError("size = 99 is out of range.")
    if name == "breaks":
        raise ZeroDivisionError("division by zero")
    if name == "hungry":
        raise RuntimeError(
            "DefaultCPUAllocator: not enough memory: you tried to allocate 99 bytes."
        )
    if name == "full":
        raise OSError(28, "No space left on device")
