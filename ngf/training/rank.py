"""One of the processes that train together, as `torchrun` starts it: `python -m ngf.training.rank
RUN_DIR`. See `ngf.training.several`.

The first one does what a training in one process does (`ngf.training.run`), and is the only one
that writes anything. The others take the steps with it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import NoReturn

import torch

from ngf import models
from ngf.config import TrainSpec
from ngf.environment import device, exact_numerics, use_threads
from ngf.runs import recorder
from ngf.runs.child import explain
from ngf.runs.files import UMASK, Lock
from ngf.runs.folder import WRITER
from ngf.runs.lifeline import when_cut
from ngf.runs.recorder import Recorder, Stopped
from ngf.runs.store import Store, TrainRun, open_run
from ngf.terminal import end_signals
from ngf.training.loop import Trainer
from ngf.training.run import train
from ngf.training.team import Several, joined

_PATIENCE = 60.0  # seconds that what is left of a killed attempt may take to end


def main(path: Path) -> NoReturn:
    os.umask(UMASK)
    # a convolution of 1x1 has several strides that mean the same
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    when_cut(lambda: os._exit(1))
    for number in end_signals():
        signal.signal(number, lambda *_: recorder.interrupt())
    try:
        where = device()
        with joined(where) as team:
            try:
                work(path, team, where)
            except Stopped:
                if team.rank == 0:
                    team.stop()
    except Exception as exc:  # noqa: BLE001  whatever it is, the process that holds the lock tells it
        traceback.print_exc()
        tell(exc, path)
        sys.stderr.flush()
        os._exit(1)  # threads of torch may still wait for the others
    sys.stderr.flush()
    os._exit(0)  # all is written; an interpreter that is taken down may abort on threads of torch


def work(path: Path, team: Several, where: torch.device) -> None:
    """Train together. Raises Stopped in all when the run was asked to stop."""
    exact_numerics()
    use_threads()
    store = Store(path.parent)
    training = open_run(store, path)
    assert isinstance(training, TrainRun)
    if team.rank > 0:
        return follow(training.spec, team, where)
    lock = Lock(path / WRITER)
    if not lock.acquire(timeout=_PATIENCE):
        raise RuntimeError("Another process still writes this run.")
    train(training.spec, Recorder(path), store, team)
    team.go_on()


def follow(spec: TrainSpec, team: Several, where: torch.device) -> None:
    """Take every step with the first process, and wait while it measures and writes."""
    work = team.receive(where)
    trainer = Trainer(
        models.for_data(spec.model, work.facts).to(where),
        work.data,
        spec.training,
        seed=spec.seed,
        survives_flip=work.facts["survives_flip"],
        attacker=work.attacker,
        team=team,
    )
    trainer.before_step = team.wait
    for _ in trainer:
        pass
    team.wait()


def tell(exc: Exception, path: Path) -> None:
    """Leave word of an error where `torchrun` looks for it, in its form, with what is ours."""
    now, about = time.time(), explain(exc, path)
    told = {"timestamp": int(now), "time": now, **about}
    Path(os.environ["TORCHELASTIC_ERROR_FILE"]).write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
