"""What happens on a Dask worker: it says what it would compute with, and executes run folders in
processes of their own, which go on with the next one after a small one, as a supervisor's do.

Dask calls these functions by name, so that nothing of ours is sent but names, paths and files, and
neither this process nor the one that asks needs torch. A run is stopped, with a checkpoint, as soon
as nobody waits for its task any more: whoever asked has ended, or has lost its scheduler, or this
worker closes. Its process ends with the worker's, by a lifeline, however that ends.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ngf import NUMBERS, __version__
from ngf.machine import source_digest, torch_version
from ngf.runs.child import PATIENCE
from ngf.runs.executors import STAY, Command, Handle, Local
from ngf.runs.files import DiskFull, Lock, is_full, write_atomic
from ngf.runs.folder import CONTROL, EVENTS
from ngf.runs.here import here
from ngf.runs.kills import given_up
from ngf.runs.lifeline import Lifeline
from ngf.runs.store import Run, Store
from ngf.runs.supervisor import GRACE, TICK
from ngf.sweeps.cluster.parcel import Parcel, pack, unpack

if TYPE_CHECKING:
    from distributed import Worker

RUNS_AT_A_TIME = "ngf"  # resource that a worker may be started with; the default is one run
RELAYED = 1.0  # seconds between two looks at the events of a run whose store is elsewhere
_MOST = 2**20  # bytes of events that are told at once
# States of a worker that goes on, be it with little memory left, and of a task that is waited for.
_STAYS = ("running", "paused")
_WAITED_FOR = ("executing", "long-running")

_guard = threading.Lock()  # of the children that wait: a worker may execute several runs at a time


@dataclass
class _Work:
    """A run that is executed here. told: whether it was asked to stop."""

    path: Path
    handle: Handle
    told: bool = False


_working: dict[Any, _Work] = {}  # by the key of its task


class CannotStart(RuntimeError):
    """The process of a run ended before it began the run: it is the worker that is at fault.

    worker: its address.
    """

    def __init__(self, worker: str, why: str):
        super().__init__(worker, why)
        self.worker, self.why = worker, why


class WorkerFull(DiskFull):
    """No space left on the disk of a worker."""

    def __init__(self, worker: str, name: str):
        super().__init__(errno.ENOSPC, f"The disk of worker {name} is full: the run was not begun")
        self.worker, self.name = worker, name

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.worker, self.name)


def identity() -> dict[str, str]:
    """What has to be the same wherever a sweep is computed."""
    return {
        "ngf": __version__,
        "numbers": str(NUMBERS),
        "torch": torch_version(),
        "source": source_digest(),
    }


def slot_name() -> str:
    """Name of the resource that a worker with this `identity` has, one for each run at a time.
    Other versions have another one, so that Dask itself sends them nothing.
    """
    text = "\0".join(identity().values())
    return f"ngf-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def sight_name(root: str) -> str:
    """Name of the resource of workers that see the store in the folder `root`."""
    return f"ngf-sees-{hashlib.sha256(root.encode()).hexdigest()[:10]}"


def describe(root: str, token: str, dask_worker: Worker) -> dict[str, Any]:
    """What this worker is, and whether it shares the store in `root`: it finds the file `token`
    there and sees that it is locked.
    """
    asked = dask_worker.state.total_resources.get(RUNS_AT_A_TIME, 1)
    return {
        **identity(),
        "name": str(dask_worker.name),
        "device": here()["device"],
        "slots": int(asked),
        "sees": Lock.is_held(Path(root, token)),
    }


async def grant(resources: Mapping[str, float], dask_worker: Worker) -> None:
    """Let this worker have `resources`, which is what makes Dask send it runs."""
    await dask_worker.set_resources(**resources)


def execute(path: str, pipeline: str) -> None:
    """Execute the run in the folder `path` of a store that this worker shares, if it waits; return
    when its process has ended. Everything else is told by the folder. Raises CannotStart.
    """
    run_path = Path(path)
    store = Store(run_path.parent)
    task = _Task(pipeline)
    until = time.monotonic() + PATIENCE + GRACE
    # The child of a worker that died saves a checkpoint before it ends.
    while (run := store.find(run_path.name)) and run.status == "running" and task.is_wanted():
        if time.monotonic() > until:
            return
        time.sleep(TICK)
    if run is not None and run.status in ("queued", "lost"):
        if run.status == "lost" and given_up(run, _say):
            return
        task.carry_out(run)


def execute_away(
    run_id: str, parcels: Mapping[str, Parcel], topic: str, pipeline: str
) -> tuple[str, str, Parcel] | None:
    """Execute a run whose store is elsewhere, in a store of its own that lasts as long, and return
    its folder, after address and name of this worker; None when it is not wanted any more. Its
    events are told meanwhile, as the topic `topic`.

    parcels: its folder and those of the runs that it starts from, by name.

    Raises CannotStart, and WorkerFull where there is no space for that.
    """
    task = _Task(pipeline)
    task.tell(topic, {"run": run_id, "begun": task.name})
    root = Path(task.worker.local_directory, f"ngf-{uuid.uuid4().hex}")
    try:
        try:
            for name, parcel in parcels.items():
                unpack(root / name, parcel)
        except OSError as exc:
            if is_full(exc):
                raise WorkerFull(task.worker.address, task.name) from exc
            raise
        run = Store(root).get(run_id)
        relay = _Relay(
            run, lambda at, text: task.tell(topic, {"run": run_id, "at": at, "text": text})
        )
        task.carry_out(run, relay)
        return (task.worker.address, task.name, pack(run.path)) if task.is_wanted() else None
    finally:
        shutil.rmtree(root, ignore_errors=True)


class _Task:
    """The task that this thread executes."""

    def __init__(self, pipeline: str) -> None:
        from distributed import get_worker

        self.worker = get_worker()
        self.name = str(self.worker.name)
        self._key = self.worker.get_current_task()
        slots = int(self.worker.state.total_resources.get(slot_name(), 1))
        self._local, self._command = _executor(
            pipeline, max(1, self.worker.state.nthreads // max(1, slots))
        )

    def is_wanted(self) -> bool:
        """Whether somebody waits for it, on a worker that stays."""
        task = self.worker.state.tasks.get(self._key)
        stays = self.worker.status.name in _STAYS
        return stays and task is not None and task.state in _WAITED_FOR

    def tell(self, topic: str, message: dict[str, Any]) -> None:
        self.worker.log_event(topic, message)

    def carry_out(self, run: Run, each: Callable[[], None] = lambda: None) -> None:
        """Execute a waiting run in a child, and see it through or to a stop. Raises CannotStart.

        each: called meanwhile.
        """
        before = run.attempts
        try:
            with _guard:
                handle = self._local(self._command, run.path)
        except OSError as exc:
            raise CannotStart(self.worker.address, str(exc)) from exc
        work = _working[self._key] = _Work(run.path, handle)
        try:
            while handle.poll() is None:
                if not self.is_wanted():
                    _end(handle)
                    break
                with _guard:
                    self._local.keep_warm(self._command)
                each()
                time.sleep(TICK)
        finally:
            del _working[self._key]
        with _guard:
            self._local.take_back(self._command, handle)
        if work.told or not self.is_wanted():
            return
        now = run.store.find(run.id)
        if now is not None and now.status in ("queued", "lost") and now.attempts == before:
            raise CannotStart(self.worker.address, f"exit code {handle.poll()}")


@cache
def _executor(pipeline: str, threads: int) -> tuple[Local, Command]:
    """What starts the children of this worker and keeps one waiting, and its command."""
    more = ("--pipeline", pipeline) if pipeline else ()
    command = (sys.executable, "-m", "ngf.runs.child", *more, STAY)
    local = Local({command: {"NGF_THREADS": str(threads)}}, _lifeline())
    _locals.append(local)
    return local, command


_locals: list[Local] = []


@cache
def _lifeline() -> Lifeline:
    return Lifeline()


def _end(handle: Handle) -> None:
    """Let a child save its checkpoint and end, or kill it after `GRACE` seconds."""
    handle.terminate()
    until = time.monotonic() + GRACE
    while handle.poll() is None and time.monotonic() < until:
        time.sleep(TICK)
    while handle.poll() is None:
        handle.kill()
        time.sleep(TICK)


class _Relay:
    """Tells the events that a run has written since the last call."""

    def __init__(self, run: Run, tell: Callable[[int, str], None]) -> None:
        self._path, self._tell = run.path / EVENTS, tell
        before = self._path.read_bytes() if self._path.exists() else b""
        self._at = before.rfind(b"\n") + 1
        self._looked = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._looked < RELAYED or not self._path.exists():
            return
        self._looked = time.monotonic()
        with open(self._path, "rb") as file:
            file.seek(self._at)
            new = file.read(_MOST)
        whole = new[: new.rfind(b"\n") + 1]
        if whole:
            self._tell(self._at, whole.decode())
            self._at += len(whole)


def tell(keys: Iterable[Any], command: str) -> None:
    """Have the runs of these tasks `pause`, `cancel`, or save a checkpoint and `end`."""
    for key in keys:
        if (work := _working.get(key)) is not None:
            work.told = True
            if command == "end":
                work.handle.terminate()
            else:
                write_atomic(work.path / CONTROL, command)


def leave() -> None:
    """End the children that wait for a run: there will be none."""
    with _guard:
        for local in _locals:
            local.close()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
