"""Executes one run folder in this process: `python -m ngf.runs.child` waits for one with everything
imported.

The process imports the pipelines (and torch with them), prints "ready", reads the path of one run
folder from standard input, executes it and ends, so that memory does not carry over from run to
run. While it waits it ends at the end of standard input, that is with its supervisor; a run that
has begun goes on without it.

Small runs are different: importing torch takes longer than a measurement that is over in a moment,
and a fifth of a purification of the tiny network. After one, a child goes on with the next run of
its slot; where somebody may be moving a slider it stays a while for it. With `--stay` it waits for
the next path instead, and prints "over" whenever it does.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from ngf.machine import peak_memory
from ngf.options import Explained, SpecError
from ngf.runs import recorder
from ngf.runs.facts import check_links
from ngf.runs.files import (
    NO_LINK,
    UMASK,
    DiskFull,
    Lock,
    is_full,
    read_text,
    to_json,
    write_atomic,
)
from ngf.runs.folder import (
    ATTEMPTS,
    CONTROL,
    CRASHES,
    ERROR,
    LOCK,
    LOG,
    RESERVE,
    RESULT,
    SPEC,
    THREADS,
    Status,
)
from ngf.runs.lifeline import when_cut
from ngf.runs.slots import slot_of
from ngf.runs.store import Run, Store, open_run
from ngf.terminal import end_signals

# kind of run -> module whose run(path) executes it. By name, because ngf does not import analysis.
PIPELINES = {
    "train": "ngf.training.run",
    "purify": "ngf.defenses.run",
    "measure": "analysis.execute",
}
ROLE = "child"  # how the lock of a run tells a supervisor's child from a run in somebody's terminal
# A child goes on with another run after one that was quick, or while it has never taken much
# memory; a large run may have left much behind, and so may one that failed.
QUICK, SMALL = 2.0, 2**30  # seconds, bytes
LINGER = {"light": 20.0, "brief": 20.0, "heavy": 0.0}  # seconds that it waits for one, by slot
OVER = b"over\n"
PATIENCE = 10.0  # seconds to save a checkpoint in, once the dashboard has gone
_MEMORY_ADVICE = (
    "Use a smaller batch size, fewer images or a smaller model, or end other programs that use "
    "the same device; then start this run again."
)


def execute(
    run: Run, pipelines: Mapping[str, str] = PIPELINES, role: str = "terminal"
) -> Status | Literal["deleted"]:
    """Execute a run to its end in this process and return its status after that.

    Does nothing when another process executes it or it is not waiting. Errors end in error.json.
    """
    if run.status not in ("queued", "lost"):
        return run.status
    lock = Lock(run.path / LOCK)
    try:
        if not lock.acquire(role=role):
            return "running"
    except FileNotFoundError:
        return "deleted"
    try:
        # Holding the lock makes the run "running"; anything else, or a stop, came while waiting for
        # it.
        with suppress(SpecError):  # deleted meanwhile
            now: str = run.status
            if now == "running" and not _stop_asked(run.path):
                _attempt(run, pipelines)
    finally:
        (run.path / RESERVE).unlink(missing_ok=True)
        lock.release()
        run.store.wake()
    try:
        return run.status
    except SpecError:
        return "deleted"


def _attempt(run: Run, pipelines: Mapping[str, str]) -> None:
    try:
        write_atomic(run.path / ATTEMPTS, str(run.attempts + 1))
        write_atomic(run.path / RESERVE, " " * 2**14)
        pipeline = importlib.import_module(pipelines[run.kind])
        if "torch" in sys.modules:
            from ngf.environment import keep_threads

            keep_threads(run.path / THREADS)
        while True:
            try:
                pipeline.run(run.path)
            except recorder.Interrupted:
                (run.path / CRASHES).unlink(missing_ok=True)  # an orderly end is not a crash
                return
            except recorder.Stopped:
                if not _stop_asked(run.path):
                    continue  # resumed while it was still stopping
                return
            break
        if not (run.path / RESULT).exists():
            raise RuntimeError("The pipeline ended without a result.")
    except Exception as exc:  # noqa: BLE001  whatever it is, error.json has to tell it: nobody else does
        write_error(run, **explain(exc, run.path))
        try:
            with open(run.path / LOG, "a", encoding="utf-8") as log:
                traceback.print_exc(file=log)
        except OSError as full:
            if not is_full(full):
                raise


def write_error(run: Run, **about: Any) -> None:
    """Write error.json, after which the run has failed. Makes room first when the disk is full."""
    about.setdefault(
        "step", next((event["step"] for event in reversed(run.outline()) if "step" in event), None)
    )
    (run.path / RESERVE).unlink(missing_ok=True)
    for left in run.path.glob(".state-*.tmp"):
        shutil.rmtree(left)
    write_atomic(run.path / ERROR, to_json(about))


def explain(exc: BaseException, path: Path) -> dict[str, Any]:
    """`kind`, `message` and `advice` for an exception, in the user's words."""
    text = str(exc).strip() or type(exc).__name__
    if isinstance(exc, Explained):
        message = exc.strerror if isinstance(exc, DiskFull) else text
        return {"kind": exc.kind, "message": message, "advice": exc.advice}
    # the disk may have been full for a writer that does not say so
    if (
        is_full(exc)
        or isinstance(exc, (OSError, RuntimeError))
        and shutil.disk_usage(path).free < 2**20
    ):
        return {
            "kind": DiskFull.kind,
            "message": "The disk is full: the run cannot go on",
            "advice": DiskFull.advice,
        }
    if _is_out_of_memory(exc, text):
        return {
            "kind": "out_of_memory",
            "message": f"Out of memory: {text.splitlines()[0]}",
            "advice": _MEMORY_ADVICE,
        }
    if isinstance(exc, ValueError):
        return {
            "kind": "bad_input",
            "message": text,
            "advice": "Change the setting that the message names and start a new run.",
        }
    last = traceback.format_exception_only(exc)[-1].strip()
    return {
        "kind": "crash",
        "message": last,
        "advice": (
            "This is a fault in the program or in what it runs on; log.txt of the run tells where."
        ),
    }


def _is_out_of_memory(exc: BaseException, text: str) -> bool:
    # by name, so that this module needs no torch
    return (
        isinstance(exc, MemoryError)
        or any(cls.__name__ == "OutOfMemoryError" for cls in type(exc).__mro__)
        or isinstance(exc, RuntimeError)
        and (
            "not enough memory" in text
            or "out of memory" in text
            or "can't allocate memory" in text
        )
    )


def _stop_asked(path: Path) -> bool:
    return (read_text(path / CONTROL) or "").strip() in ("pause", "cancel")


def warm_up(modules: list[str]) -> None:
    """Import what a run will need. What cannot be imported fails again, and visibly, in the
    run itself.
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception:  # noqa: BLE001  a plug-in can fail in any way
            print(f"{module} cannot be imported:", file=sys.stderr)
            traceback.print_exc()
    if "torch" in sys.modules:
        from ngf.environment import use_threads

        use_threads()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ngf.runs.child", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "--pipeline", help="module that executes every kind of run, instead of ngf's own"
    )
    parser.add_argument("--slot", help="what the process is for, to be read in a list of processes")
    parser.add_argument(
        "--stay", action="store_true", help="after a small run wait for the path of another one"
    )
    options = parser.parse_args(argv)
    os.umask(UMASK)
    pipelines = {kind: options.pipeline or module for kind, module in PIPELINES.items()}
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is for the supervisor, which then asks us to end
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing to save while waiting
    _step_back(int(os.environ.get("NGF_NICE", "0")))
    warm_up(sorted(set(pipelines.values())))
    try:
        print("ready", flush=True)
    except BrokenPipeError:  # the supervisor has ended while we were importing
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    when_cut(end_soon)
    over = os.dup(1) if options.stay else None  # later, standard output is the log of a run
    run, status = _handed(), ""
    for number in end_signals():
        signal.signal(number, lambda *_: recorder.interrupt())
    while run is not None:
        started = time.monotonic()
        if _log_to(run.path / LOG):  # else deleted in the meantime
            status = execute(run, pipelines, ROLE)
        small = time.monotonic() - started < QUICK or peak_memory() <= SMALL
        if not small or status == "failed" or recorder.interrupted():
            break
        if over is not None:
            with suppress(BrokenPipeError):  # whoever would hand over another one has ended
                os.write(over, OVER)
            run = _handed()
        else:
            run = _next_of(options.slot, run.store) if options.slot in LINGER else None
    return 1 if status == "failed" else 0


def _step_back(nice: int) -> None:
    """Claim less of a busy machine. Where Linux schedules sessions in groups, niceness counts only
    within this process's own, so that of the group is set as well.
    """
    if not nice or not hasattr(os, "nice"):  # not on every system
        return
    os.nice(nice)
    with suppress(OSError):  # no such groups here, or not ours to change
        Path("/proc/self/autogroup").write_text(str(nice), encoding="ascii")


def end_soon() -> None:
    """End this process: after the next checkpoint, or without it when none comes in time."""
    recorder.interrupt()
    time.sleep(PATIENCE)
    os._exit(1)  # from a thread; what the run has saved stays, and it goes on from there


def _handed() -> Run | None:
    """The run whose path comes next on standard input; None at its end, or when it is gone."""
    line = sys.stdin.readline().strip()
    return _find(Path(json.loads(line))) if line else None


def _find(path: Path) -> Run | None:
    """The run in folder `path`, or None when it was deleted or damaged in the meantime."""
    try:
        check_links(path)
        return open_run(Store(path.parent), path)
    except (SpecError, FileNotFoundError) as exc:
        if (path / SPEC).exists():
            print(f"{path.name}: {exc}", file=sys.stderr, flush=True)
        return None


def _log_to(path: Path) -> bool:
    """Let what this process prints go to the run's log; False when the run is gone."""
    try:
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | NO_LINK, 0o644)
    except FileNotFoundError:
        return False
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
    return True


def _next_of(slot: str, store: Store) -> Run | None:
    """The next run of this slot that can start, when there is one within the time of `LINGER`; the
    lock settles who runs it.
    """
    until, seen = time.monotonic() + LINGER[slot], -1
    while not recorder.interrupted():
        if (wake := store.wake_time()) != seen:
            seen = wake
            for run in store.queue():
                if slot_of(run.spec) == slot and run.is_ready():
                    return run
        if time.monotonic() >= until:
            break
        time.sleep(0.01)
    return None


if __name__ == "__main__":
    sys.exit(main())
