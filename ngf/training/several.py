"""One training in several processes of this machine: who starts them, waits, and tells the end.

The process that holds the lock of the run computes nothing. It starts `ngf.training.agent`, which
is `torchrun`, which starts one `ngf.training.rank` for each GPU, or for each part of the cores; the
first of these writes the run. All of them end with the process that holds the lock, however that
ends: their standard input is a pipe whose other end it holds.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ngf.environment import device
from ngf.options import Explained, SpecError
from ngf.places import child_environment
from ngf.runs import recorder
from ngf.runs.folder import LOG, RESULT
from ngf.runs.lifeline import ON_STDIN

_RANK = "ngf.training.rank"  # by name, because it imports this
_LOOK = 0.05  # seconds between two looks at the processes
_SIDE_BY_SIDE = 10.0  # seconds; `torchrun` itself kills after thirty
_KILLED_ADVICE = (
    "Most often the machine was out of memory: use fewer processes, a smaller batch size or a "
    "smaller model, or end other programs. Started again, this run goes on from its last "
    "checkpoint."
)
_CRASH_ADVICE = (
    "This is a fault in the program or in what it runs on; log.txt of the run tells where."
)


class RankFailed(Explained, RuntimeError):
    """One of the processes has failed, and the others were ended."""

    def __init__(self, message: str, kind: str, advice: str) -> None:
        super().__init__(message, advice=advice)
        self.kind = kind


def train_by_several(path: Path, processes: int) -> None:
    """Execute the training in folder `path`. Raises Stopped when asked to, SpecError where there
    are fewer GPUs than processes, and RankFailed.
    """
    check_devices(processes, device().type, torch.cuda.device_count())
    threads = str(max(1, torch.get_num_threads() // processes))
    environment = child_environment(
        NGF_THREADS=threads,
        OMP_NUM_THREADS=threads,  # `torchrun` says that it sets one, where nobody does
        TORCH_CPP_LOG_LEVEL="ERROR",  # not that gradients which are never unused are looked for
        **ON_STDIN,
    )
    with open(path / LOG, "ab") as log:
        agent = subprocess.Popen(
            [sys.executable, "-m", "ngf.training.agent", str(processes), _RANK, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            start_new_session=True,  # Ctrl-C in the terminal pauses the run, by way of its folder
        )
    assert agent.stdin is not None and agent.stdout is not None
    with agent.stdin, agent.stdout:
        _await(agent)
        told = agent.stdout.read()
    if (path / RESULT).exists():
        return
    if recorder.interrupted():
        raise recorder.Interrupted("The process was asked to end.")
    if agent.returncode == 0:
        raise recorder.Stopped("The run was asked to stop.")
    raise failure(json.loads(told or "[]"), agent.returncode, processes)


def check_devices(processes: int, kind: str, gpus: int) -> None:
    """Raise SpecError unless each process gets a device of its own or all share a CPU.

    kind: of the device; gpus: how many there are that this process may use.
    """
    if not dist.is_available() or not dist.is_gloo_available():
        raise SpecError("This build of torch has no gloo. Set training.processes to 1.")
    if kind not in ("cpu", "cuda"):
        raise SpecError(
            f"Several processes train on NVIDIA GPUs or on a CPU, not on {kind}. Set "
            "training.processes to 1, or NGF_DEVICE to cpu."
        )
    if kind == "cuda" and gpus < processes:
        raise SpecError(
            f"training.processes = {processes} needs as many GPUs, and there "
            f"{'is 1' if gpus == 1 else f'are {gpus}'}. Allowed: {gpus} or fewer; with "
            "NGF_DEVICE=cpu the processes share the cores."
        )


def _await(agent: subprocess.Popen[bytes]) -> None:
    """Until it has ended. It is asked to end when this process is."""
    asked = False
    while agent.poll() is None:
        if recorder.interrupted() and not asked:
            agent.terminate()  # it passes that on, and waits until the first process has saved
            asked = True
        time.sleep(_LOOK)


def failure(ends: Sequence[Mapping[str, Any]], code: int, processes: int) -> RankFailed:
    """What has failed, in words.

    ends: of the processes that did not end well: `rank`, `code` (negative for a signal), `time` (in
        seconds since 1970), and `error`, see `ngf.runs.child.explain`, or None.
    code: the exit code of who has started them.
    """
    if not ends:
        name = "torchrun, which starts the processes,"
        if code < 0:
            return RankFailed(f"{name} was ended by {_signal(-code)}.", "killed", _KILLED_ADVICE)
        return RankFailed(f"{name} ended with exit code {code}.", "crash", _CRASH_ADVICE)
    first = min(end["time"] for end in ends)

    def order(end: Mapping[str, Any]) -> tuple[int, float]:
        """When one is killed, others may say that they cannot reach it before its end is noticed;
        those that say nothing were ended afterwards.
        """
        killed = _was_killed(end) and end["time"] < first + _SIDE_BY_SIDE
        return 0 if killed else 1 if end["error"] else 2, end["time"]

    root = min(ends, key=order)
    name = f"Process {root['rank'] + 1} of {processes} (rank {root['rank']})"
    if _was_killed(root):
        return RankFailed(
            f"{name} was ended by {_signal(-root['code'])}, and the others with it.",
            "killed",
            _KILLED_ADVICE,
        )
    error = root["error"]
    if error is None:
        return RankFailed(f"{name} ended with exit code {root['code']}.", "crash", _CRASH_ADVICE)
    said = f"{name}: {error['message']}" if error["kind"] == "crash" else error["message"]
    return RankFailed(said, error["kind"], error["advice"])


def _was_killed(end: Mapping[str, Any]) -> bool:
    return end["code"] < 0 and end["code"] != -signal.SIGTERM


def _signal(number: int) -> str:
    """`signal 9 (SIGKILL)`"""
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"
