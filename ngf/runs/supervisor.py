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
from ngf.runs.files import Lock
from ngf.runs.folder import LOCK
from ngf.runs.here import here
from ngf.runs.kills import MAX_KILLS, given_up
from ngf.runs.lifeline import when_cut
from ngf.runs.slots import FOLLOWERS, NICE, slot_of, usable_cores
from ngf.runs.store import SUPERVISOR, Run, Store, fair_order, last_starts
from ngf.terminal import end_signals

TICK = 0.025  # seconds between two looks at the wake file and the children
SCAN = 1.0  # seconds between two looks at the open runs when nothing has announced itself
SCAN_ALL = 30.0  # and at every folder, which takes 0.2 s for ten thousand
GRACE = 5.0  # seconds that a child has to end after SIGTERM
ALREADY_RUNNING = 3  # exit code of a second supervisor
NO_STORE = 4  # exit code where runs cannot be kept


class Supervisor:
    """Executes the runs of `store`, at most `slots[...]` of a kind at a time."""

    def __init__(self, store: Store, slots: Mapping[str, int] | None = None, pipeline: str = ""):
        self.store = store
        self.slots = {"live": FOLLOWERS, **(slots or {"heavy": 1, "light": 1, "brief": 1})}
        child = (
            sys.executable,
            "-m",
            "ngf.runs.child",
            *(("--pipeline", pipeline) if pipeline else ()),
        )
        # the slot is part of the command only to tell the two apart in a list of processes
        self.commands: dict[str, Command] = {slot: (*child, "--slot", slot) for slot in self.slots}
        count = usable_cores()
        part = max(1, count // 2)
        each = max(1, count // max(1, self.slots.get("heavy", 1)))  # cores are full, and no fuller
        threads = {"heavy": each, "light": part, "brief": part, "live": 1}
        self.local = Local(
            {
                command: {"NGF_THREADS": str(threads.get(slot, count))}
                | ({"NGF_NICE": str(NICE)} if slot == "live" else {})
                for slot, command in self.commands.items()
            }
        )
        self.execute: Executor = self.local
        # run id -> its process, when this supervisor has started it, the run's starts before that,
        # and the slot that the process fills
        self.working: dict[str, tuple[Handle, int, str]] = {}
        self._refused: dict[str, int] = {}  # run id -> children that died before they began it
        self._starts: dict[str, float] = {}
        self._open: dict[str, Run] = {}  # what has not ended, as the last look at all runs found
        self._woken = self._changed = -1
        self._looked = self._scanned = 0.0
        self._said = ""
        self._stopping = False
        self._lock = Lock(store.root / SUPERVISOR)

    def serve(self) -> int:
        """Work until `stop` (a signal, or the end of the dashboard); returns the exit code."""
        try:
            self.store.root.mkdir(parents=True, exist_ok=True)
            if not self._take_over():
                return ALREADY_RUNNING
            self.store.clean()
        except OSError as exc:  # read-only, of another user, a loop of links
            _say(f"Runs cannot be kept in {self.store.root}: {exc.strerror or exc}.")
            return NO_STORE
        try:
            while not self._stopping:
                if not self._lock.is_kept() and not self._follow_store():
                    return ALREADY_RUNNING
                try:
                    self._work()
                except (
                    OSError,
                    SpecError,
                ) as exc:  # disk full, a folder deleted meanwhile: tried again
                    self._complain(f"{exc}")
                time.sleep(TICK)
            return 0
        finally:
            self._end_children()
            self._lock.release()

    def _take_over(self) -> bool:
        if self._lock.acquire(role="supervisor", about=here()):
            return True
        _say(f"A supervisor already serves {self.store.root}.")
        return False

    def _follow_store(self) -> bool:
        """The store was deleted or replaced, and with it the file that is locked: whoever comes
        next would serve beside us. False when somebody has come already.
        """
        _say(f"{self.store.root} was deleted or replaced; its runs have gone with it.")
        self._end_children()
        self.working.clear()
        self._open.clear()
        self._lock.release()
        while not self._stopping:  # not made anew: whoever submits a run does that
            if self.store.root.is_dir():
                return self._take_over()
            time.sleep(SCAN)
        return True

    def _work(self) -> None:
        """One look: at the children always, at open runs when it is time, and at every folder when
        something was announced, came or went.
        """
        wake, now = self.store.wake_time(), time.monotonic()
        announced = self._reap() or wake != self._woken or now - self._scanned > SCAN_ALL
        if announced or now - self._looked > SCAN:
            self._looked = now
            changed = self.store.changed()
            if announced or changed != self._changed:
                self._woken, self._scanned, self._changed = wake, now, changed
                facts = {r: f for r, f in self.store.look().facts.items() if r.source == "user"}
                for owner, when in last_starts(facts.values()).items():
                    self._starts[owner] = max(when, self._starts.get(owner, 0.0))
                self._open = {run.id: run for run, about in facts.items() if not about.ended}
            self._scan()
        for slot, command in self.commands.items():
            if slot != "live":  # nobody waits for its first moment
                self.local.keep_warm(command)

    def _complain(self, text: str) -> None:
        """Say what is wrong, once for as long as it stays the same."""
        if text != self._said:
            _say(text)
        self._said = text

    def stop(self, *_: object) -> None:
        """Ask `serve` to end; for signal handlers."""
        self._stopping = True

    def _reap(self) -> bool:
        """Forget children that have ended; True when there was one."""
        ended = [
            run_id for run_id, (handle, *_) in self.working.items() if handle.poll() is not None
        ]
        for run_id in ended:
            handle, starts, _slot = self.working.pop(run_id)
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
        status: dict[str, str] = {}
        for run in list(self._open.values()):
            try:
                status[run.id] = run.status
            except SpecError:  # deleted or damaged meanwhile
                del self._open[run.id]
        runs = list(self._open.values())
        room = dict(self.slots)
        for _handle, _starts, slot in self.working.values():  # also those that wait for a next run
            room[slot] -= 1
        ours = {handle.pid for handle, *_ in self.working.values()}  # one may be at its next run
        for run in runs:
            if (
                status[run.id] == "running"
                and run.id not in self.working
                and Lock.holder(run.path / LOCK, ROLE) not in ours
                and Lock.is_here(run.path / LOCK)
            ):
                room[slot_of(run.spec)] -= 1
        waiting = [
            run
            for run in runs
            if status[run.id] in ("queued", "lost")
            and run.id not in self.working
            and room[slot_of(run.spec)] > 0
            and run.is_ready()
        ]
        lost = [run for run in waiting if status[run.id] == "lost"]
        queued = [run for run in waiting if status[run.id] == "queued"]
        for run in lost + fair_order(queued, self._starts):
            if room[slot_of(run.spec)] > 0 and not (
                status[run.id] == "lost" and given_up(run, _say)
            ):
                starts, slot = run.attempts, slot_of(run.spec)
                self.working[run.id] = self.execute(self.commands[slot], run.path), starts, slot
                self._starts[run.request["owner"]] = time.time()
                room[slot] -= 1

    def _end_children(self) -> None:
        """Let every child save its checkpoint and end, or kill it after `GRACE` seconds."""
        self.local.close()
        handles = [handle for handle, *_ in self.working.values()]
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
    parser.add_argument(
        "--light",
        type=int,
        default=1,
        help="measurements at a time; as many brief ones beside them",
    )
    parser.add_argument("--pipeline", default="", help="module that executes every kind of run")
    options = parser.parse_args(argv)
    try:
        store = Store(options.root)
    except SpecError as exc:
        _say(str(exc))
        return NO_STORE
    supervisor = Supervisor(
        store,
        {"heavy": options.heavy, "light": options.light, "brief": options.light},
        options.pipeline,
    )
    for name in (signal.SIGINT, *end_signals()):
        signal.signal(name, supervisor.stop)
    when_cut(supervisor.stop)
    return supervisor.serve()


if __name__ == "__main__":
    sys.exit(main())
