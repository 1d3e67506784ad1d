"""What a sweep costs beside its runs: several at a time against one after another, the workers of a
Dask scheduler against this machine's own, and what 100,000 runs ask of scheduler and folders.

`python -m benchmarks.sweeps [--runs 40] [--steps 100] [--tasks 100000] [--folders 10000]`
purifies the tiny network so often, each time through the command line into an empty store; hands
empty tasks to a scheduler with two workers, 2,000 at a time, as a sweep does that has 1,000, and
all at once; and expands a sweep, makes the folders of its runs, and looks at them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from distributed import Client, as_completed

from benchmarks import RESULTS, conditions, cpu_seconds, write
from ngf.places import ROOT, child_environment
from ngf.runs.store import Store
from ngf.sweeps.cluster.service import AHEAD
from ngf.sweeps.control import submit_all
from ngf.sweeps.folder import made
from ngf.sweeps.spec import SweepSpec
from ngf.terminal import finish
from tests.helpers.cluster import machines

T = TypeVar("T")
MODEL = "signs-badnets-s0-36a7376469"  # of the zoo
WORKERS = 2
MANY = 1000  # workers that a scheduler is handed tasks as if for


def sweep_of(runs: int, steps: int) -> dict[str, Any]:
    """Purifications of the tiny network that differ by their seed."""
    lane = {"name": "ngf", "layer": "last", "steps": steps}
    base = {"kind": "purify", "parent": MODEL, "lanes": [lane]}
    return {"kind": "sweep", "base": base, "axes": {"seed": {"from": 1, "to": runs}}}


def executed(spec: dict[str, Any], *words: str) -> dict[str, float]:
    """Seconds of `ngf sweep` in an empty store, and the median of what its runs took."""
    with tempfile.TemporaryDirectory() as base:
        file = Path(base) / "sweep.json"
        file.write_text(json.dumps(spec))
        store = Path(base) / "runs"
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "ngf", "sweep", str(file), *words],
            cwd=ROOT,
            env=child_environment(NGF_RUNS=str(store)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        seconds = time.perf_counter() - started
        found = [json.loads(path.read_text()) for path in store.glob("*/result.json")]
        lanes = [lane["seconds"] for one in found for lane in one["lanes"].values()]
    return {"seconds": round(seconds, 1), "run_seconds": round(statistics.median(lanes), 2)}


def at_a_time(spec: dict[str, Any], runs: int) -> dict[str, Any]:
    """The same sweep one after another with all threads, several at a time, and on Dask."""
    found: dict[str, Any] = {"runs": runs}
    found["one_after_another"] = executed(spec, "--jobs", "1")
    found["jobs_2"] = executed(spec, "--jobs", str(WORKERS))
    with machines(n_workers=WORKERS) as cluster:
        found["dask"] = executed(spec, "--executor", "dask", "--scheduler", cluster.address)
    alone, local, dask = (
        found[name]["seconds"] for name in ("one_after_another", "jobs_2", "dask")
    )
    return {
        **found,
        "times_faster": round(alone / local, 2),
        "dask_overhead": round(dask / local - 1, 3),
    }


def nothing(number: int) -> None:
    """An empty task."""


def scheduled(count: int, ahead: int) -> dict[str, float]:
    """What a scheduler takes for so many empty tasks, of which it knows `ahead` at a time."""
    with machines(n_workers=WORKERS) as cluster, Client(cluster.address) as client:
        before, started = cpu_seconds(cluster.pid), time.perf_counter()
        handed, done, most = 0, as_completed(), 0.0
        while handed < count or done.count():
            for number in range(handed, min(count, handed + ahead - done.count())):
                done.add(client.submit(nothing, number, key=("ngf", number)))
                handed += 1
            done.next_batch(block=True)
            most = max(most, memory(cluster.pid))
        seconds, cpu = time.perf_counter() - started, cpu_seconds(cluster.pid) - before
    return {
        "workers": WORKERS,
        "tasks": count,
        "ahead": ahead,
        "seconds": round(seconds, 1),
        "scheduler_cpu_ms_per_task": round(1e3 * cpu / count, 2),
        "scheduler_mb": round(most),
    }


def memory(pid: int) -> float:
    """Megabytes that a process has in memory."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def folders(count: int) -> dict[str, float]:
    """CPU milliseconds and milliseconds per run: to expand a sweep, to make the folders of its
    runs, and to look at all of them, as is done again and again.
    """
    base = {"kind": "purify", "parent": MODEL, "lanes": ["ngf"]}
    axes = {"seed": {"from": 0, "to": 999}, "num_clean": list(range(20, 20 + count // 1000))}
    spec = SweepSpec.from_json({"kind": "sweep", "base": base, "axes": axes})
    with tempfile.TemporaryDirectory() as name:
        store = Store(Path(name) / "runs")
        expansion, found = timed(lambda: spec.expand(store), "expand", count)
        sweep = made(spec, expansion)
        found |= timed(lambda: submit_all(expansion.specs(), store, sweep.id), "make", count)[1]
        time.sleep(2)  # folders that changed just now are read anew
        sweep.seen(store)
        found |= timed(lambda: sweep.seen(store).statuses(), "look", count)[1]
    return {"runs": count, **found}


def timed(work: Callable[[], T], name: str, count: int) -> tuple[T, dict[str, float]]:
    cpu, started = time.process_time(), time.perf_counter()
    result = work()
    cpu, seconds = time.process_time() - cpu, time.perf_counter() - started
    return result, {
        f"{name}_cpu_ms": round(1e3 * cpu / count, 3),
        f"{name}_ms": round(1e3 * seconds / count, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sweeps", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--folders", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=RESULTS / "sweeps.json")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    for name, work in (
        ("folders", lambda: folders(options.folders)),
        ("scheduler", lambda: scheduled(options.tasks, AHEAD * MANY)),
        ("scheduler_at_once", lambda: scheduled(options.tasks, options.tasks)),
        ("sweep", lambda: at_a_time(sweep_of(options.runs, options.steps), options.runs)),
    ):
        results[name] = work()
        print(name, json.dumps(results[name]), flush=True)
    write(options.out, results | conditions())
    print(f"Written to {options.out}")


if __name__ == "__main__":
    finish(main)
