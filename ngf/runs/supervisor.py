"""Hands waiting runs to children and looks after them: `python -m ngf.runs.supervisor`.

One supervisor serves a store; a second one says so and ends. What is running is read from the
files, so a run that goes on after its supervisor was killed still fills its slot. Runs whose
process was killed are started again from their checkpoint, unless they were killed three times
without getting any further.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ngf.options import SpecError
from ngf.runs.child import ROLE, write_error
from ngf.runs.executors import Command, Executor, Handle, Local
from ngf.runs.files import Lock, read_json, read_text, to_json, write_atomic
from ngf.runs.folder import CRASHES, LOCK, LOG
from ngf.runs.recorder import checkpoints
from ngf.runs.store import MeasureRun, Run, Store, fair_order, last_starts

TICK = 0.025  # seconds between two looks at the wake file and the children
SCAN = 1.0  # seconds between two looks at all runs when nothing has announced itself
GRACE = 5.0  # seconds that a child has to end after SIGTERM
MAX_KILLS = 3  # without any progress between them
ALREADY_RUNNING = 3  # exit code of a second supervisor


def slot_of(run: Run) -> str:
    """Measurements are light, so that they need not wait for a training."""
    return "light" if isinstance(run, MeasureRun) else "heavy"


class Supervisor:
    """Executes the runs of `store`, at most `slots[...]` of a kind at a time."""

    def __init__(self, store: Store, slots: Mapping[str, int] | None = None, pipeline: str = ""):
        self.store = store
        self.slots = dict(slots or {"heavy": 1, "light": 1})
        child = (
            sys.executable,
            "-m",
            "ngf.runs.child",
            *(("--pipeline", pipeline) if pipeline else ()),
        )
        # the slot is part of the command only to tell the two apart in a list of processes
        self.commands: dict[str, Command] = {slot: (*child, "--slot", slot) for slot in self.slots}
        cores = (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
        threads = {"heavy": cores, "light": max(1, cores // 2)}
        self.local = Local(
            {
                command: {"NGF_THREADS": str(threads.get(slot, cores))}
                for slot, command in self.commands.items()
            }
        )
        self.execute: Executor = self.local
        # run id -> its process, when this supervisor has started it, and the run's starts before
        # that
        self.working: dict[str, tuple[Handle, int]] = {}
        self._refused: dict[str, int] = {}  # run id -> children that died before they began it
        self._starts: dict[str, float] = {}
        self._stopping = False
        self._lock = Lock(store.root / ".supervisor.lock")

    def serve(self) -> int:
        """Work until `stop` (SIGTERM or SIGINT); returns the exit code."""
        self.store.root.mkdir(parents=True, exist_ok=True)
        if not self._lock.acquire():
            print(f"A supervisor already serves {self.store.root}.", file=sys.stderr)
            return ALREADY_RUNNING
        try:
            self.store.clean()
            woken, scanned = None, 0.0
            while not self._stopping:
                wake = self.store.wake_time()
                try:
                    if self._reap() or wake != woken or time.monotonic() - scanned > SCAN:
                        woken, scanned = wake, time.monotonic()
                        self._scan()
                    for command in self.commands.values():
                        self.local.keep_warm(command)
                except (
                    OSError,
                    SpecError,
                ) as exc:  # disk full, a folder deleted meanwhile: tried again
                    _say(f"{exc}")
                time.sleep(TICK)
            return 0
        finally:
            self._end_children()
            self._lock.release()

    def stop(self, *_: object) -> None:
        """Ask `serve` to end; for signal handlers."""
        self._stopping = True

    def _reap(self) -> bool:
        """Forget children that have ended; True when there was one."""
        ended = [
            run_id for run_id, (handle, _) in self.working.items() if handle.poll() is not None
        ]
        for run_id in ended:
            handle, starts = self.working.pop(run_id)
            run = self.store.find(run_id)
            if run is not None and run.status in ("queued", "lost") and run.attempts == starts:
                self._count_refusal(run, handle.poll())
            else:
                self._refused.pop(run_id, None)
        return bool(ended)

    def _count_refusal(self, run: Run, code: int | None) -> None:
        count = self._refused[run.id] = self._refused.get(run.id, 0) + 1
        _say(f"{run.id}: its process ended (exit code {code}) before it began the run")
        if count >= MAX_KILLS:
            del self._refused[run.id]
            write_error(
                run,
                kind="crash",
                message=f"The process that runs it could not start ({code}).",
                advice="Start the supervisor in a terminal: what is wrong is printed there.",
            )

    def _scan(self) -> None:
        """Start what can start."""
        runs = [run for run in self.store.runs() if run.source == "user"]
        status = {run.id: run.status for run in runs}
        room = dict(self.slots)
        for run in runs:
            if status[run.id] == "running" or run.id in self.working:
                room[slot_of(run)] -= 1
        waiting = [
            run
            for run in runs
            if status[run.id] in ("queued", "lost")
            and run.id not in self.working
            and room[slot_of(run)] > 0
            and run.is_ready()
        ]
        for owner, when in last_starts(runs).items():
            self._starts[owner] = max(when, self._starts.get(owner, 0.0))
        lost = [run for run in waiting if status[run.id] == "lost"]
        queued = [run for run in waiting if status[run.id] == "queued"]
        for run in lost + fair_order(queued, self._starts):
            if room[slot_of(run)] > 0 and not (status[run.id] == "lost" and self._given_up(run)):
                starts = run.attempts
                self.working[run.id] = self.execute(self.commands[slot_of(run)], run.path), starts
                self._starts[run.request["owner"]] = time.time()
                room[slot_of(run)] -= 1

    def _given_up(self, run: Run) -> bool:
        """Count a kill; after the third without progress the run has failed."""
        before = read_json(run.path / CRASHES) or {"kills": 0, "progress": None}
        progress = _progress(run)
        kills = before["kills"] + 1 if before["progress"] == progress else 1
        _say(f"{run.id}: its process was killed ({kills} of {MAX_KILLS} times without progress)")
        if kills < MAX_KILLS:
            write_atomic(run.path / CRASHES, to_json({"kills": kills, "progress": progress}))
            return False
        tail = (read_text(run.path / LOG) or "").splitlines()[-20:]
        write_error(
            run,
            kind="killed",
            message=f"The run was killed {kills} times without getting any further.",
            advice="Most often the machine was out of memory: use a smaller batch size, fewer "
            "images or a smaller model, or end other programs. Started again, this run goes on "
            "from its last checkpoint.",
            log="\n".join(tail),
        )
        return True

    def _end_children(self) -> None:
        """Let every child save its checkpoint and end, or kill it after `GRACE` seconds."""
        self.local.close()
        handles = [handle for handle, _ in self.working.values()]
        for handle in handles:
            handle.terminate()
        # children of a supervisor that was killed
        orphans = [run for run in self.store.runs() if run.id not in self.working]
        self._signal(orphans, signal.SIGTERM)
        until = time.monotonic() + GRACE
        while time.monotonic() < until and (
            any(handle.poll() is None for handle in handles) or self._signal(orphans, 0)
        ):
            time.sleep(TICK)
        for handle in handles:
            if handle.poll() is None:
                handle.kill()
        self._signal(orphans, getattr(signal, "SIGKILL", signal.SIGTERM))

    def _signal(self, runs: list[Run], number: int) -> bool:
        """Send a signal to the children that execute `runs`; True when there was one."""
        pids = [pid for run in runs if (pid := Lock.holder(run.path / LOCK, ROLE)) is not None]
        for pid in pids:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(pid, number)
        return bool(pids)


def _progress(run: Run) -> list[int]:
    """What tells that a run got further: its last checkpoint and how many measurements it has
    written.
    """
    saved = [int(path.name) for path in checkpoints(run.path)]
    return [
        max(saved, default=0),
        sum(event["type"] not in ("phase", "resumed") for event in run.events()),
    ]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ngf.runs.supervisor", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "--root", type=Path, help="folder of the runs (default: NGF_RUNS, else ./runs)"
    )
    parser.add_argument(
        "--heavy", type=int, default=1, help="trainings and purifications at a time"
    )
    parser.add_argument("--light", type=int, default=1, help="measurements at a time")
    parser.add_argument("--pipeline", default="", help="module that executes every kind of run")
    options = parser.parse_args(argv)
    supervisor = Supervisor(
        Store(options.root), {"heavy": options.heavy, "light": options.light}, options.pipeline
    )
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, supervisor.stop)
    return supervisor.serve()


if __name__ == "__main__":
    sys.exit(main())
