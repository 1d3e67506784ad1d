"""What a very long run costs the visitor who opens it, and everybody else meanwhile.

`python -m benchmarks.long_runs [--out FILE] [--steps N ...]` writes a finished race of N steps by
two lanes, starts the real server over it, and lets one visitor, in a process of its own, follow
its events to the end or its chart until it is whole. Four others poll the events and the chart of
a short race meanwhile. Each of both begins with a server that has read nothing.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks import RESULTS, conditions, write
from ngf.config import PurifySpec
from ngf.runs.folder import EVENTS
from ngf.terminal import finish
from tests.helpers.run_folders import (
    RACE,
    TRAIN,
    free_port,
    get,
    long_race,
    race_events,
    server,
    write_run,
)

STEPS = (100_000, 500_000)  # by each of two lanes
OTHERS, PAUSE = 4, 0.1  # who polls a short run meanwhile, and seconds between their polls
QUIET, LEAST, PATIENCE = 5.0, 5.0, 60.0  # seconds: alone, beside the visitor, for one answer
LONG = PurifySpec(parent=TRAIN.id, lanes=RACE.lanes, seed=77)
ROUTES = {"events": f"/api/runs/{LONG.id}/events", "chart": f"/api/runs/{LONG.id}/charts/race"}


def write_long(runs: Path, steps: int) -> float:
    """Write the long race; returns the size of its events in megabytes."""
    path = write_run(runs, LONG, [], done=True) / EVENTS
    with open(path, "w", encoding="utf-8") as file:
        for seq, event in enumerate(long_race(steps)):
            line = json.dumps({"seq": seq, "t": round(0.01 * seq, 4), **event})
            file.write(line.replace(", ", ",").replace(": ", ":") + "\n")
    return path.stat().st_size / 1e6


def visit(host: str, name: str, end: Connection) -> None:
    """Follow the long run's events or its chart to the end; in a process of its own."""
    route, mark = ROUTES[name], "0" if name == "events" else ""
    found: dict[str, Any] = {"answers": 0, "largest_mb": 0.0}
    started = time.monotonic()
    try:
        while True:
            connection = http.client.HTTPConnection(host, timeout=PATIENCE)
            connection.request("GET", route + (f"?since={mark}" if mark else ""))
            raw = connection.getresponse().read()
            connection.close()
            found["answers"] += 1
            found.setdefault("first_answer_s", round(time.monotonic() - started, 2))
            found["largest_mb"] = max(found["largest_mb"], round(len(raw) / 1e6, 3))
            answer = json.loads(raw)
            mark = str(answer["next"] if name == "events" else answer["version"])
            if not answer.get("more") if name == "events" else answer.get("final", False):
                break
            if name == "chart":
                time.sleep(0.5)  # as the browser does
        found["whole_s"] = round(time.monotonic() - started, 2)
    except OSError as exc:
        found["failed"] = f"{type(exc).__name__} after {time.monotonic() - started:.0f} s"
    end.send(found)


def poll(host: str, place: int, until: threading.Event, times: list[float]) -> None:
    """One of the others: asks for the short run's events and chart in turn. `times` in ms."""
    routes = (f"/api/runs/{RACE.id}/events?since=150", f"/api/runs/{RACE.id}/charts/race")
    connection = http.client.HTTPConnection(host, timeout=PATIENCE)
    time.sleep(PAUSE * place / OTHERS)
    while not until.is_set():
        started = time.monotonic()
        try:
            connection.request("GET", routes[len(times) % 2])
            connection.getresponse().read()
        except OSError:  # a server that stood still for long has hung up
            connection.close()
        times.append(1000 * (time.monotonic() - started))
        time.sleep(max(0.0, PAUSE - (time.monotonic() - started)))
    connection.close()


def others(host: str, wait: Any) -> dict[str, float]:
    """Times to an answer of those who poll a short run while `wait` lasts."""
    until = threading.Event()
    times: list[list[float]] = [[] for _ in range(OTHERS)]
    threads = [
        threading.Thread(target=poll, args=(host, i, until, times[i])) for i in range(OTHERS)
    ]
    for thread in threads:
        thread.start()
    wait()
    until.set()
    for thread in threads:
        thread.join()
    flat = sorted(value for own in times for value in own)
    return {
        "n": len(flat),
        "p50_ms": round(statistics.median(flat), 1),
        "p95_ms": round(flat[int(0.95 * len(flat))], 1),
        "max_ms": round(flat[-1], 1),
    }


def resident(pid: int, what: str) -> float:
    """Memory of a process in megabytes: VmRSS now, VmHWM at its highest."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1e3, 1)


def measure(runs: Path, name: str) -> dict[str, Any]:
    """One visitor on a server that has read nothing."""
    port = free_port()
    command = [sys.executable, "-m", "dashboard.server.app", "--port", str(port)]
    with suppress(subprocess.TimeoutExpired), server(runs, command, port) as url:
        host, pid = url.removeprefix("http://"), get(f"{url}/api/health")[2]["pid"]
        get(f"{url}/api/runs/{RACE.id}/charts/race")
        alone = others(host, lambda: time.sleep(QUIET))
        before = resident(pid, "VmRSS")
        here, there = multiprocessing.Pipe()
        visitor = multiprocessing.Process(target=visit, args=(host, name, there))

        def wait() -> None:
            started = time.monotonic()
            visitor.start()
            visitor.join()
            time.sleep(max(0.0, LEAST - (time.monotonic() - started)))

        beside = others(host, wait)
        found = {
            **here.recv(),
            "others_alone": alone,
            "others_meanwhile": beside,
            "rss_before_mb": before,
            "rss_after_mb": resident(pid, "VmRSS"),
            "rss_peak_mb": resident(pid, "VmHWM"),
        }
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)  # one that is still busy for a visitor who has left
    return found


def start_of_recorder(folder: Path) -> dict[str, float]:
    """What the writer of a resumed run costs before its first step."""
    code = (
        "import resource, sys, time; from ngf.runs.recorder import Recorder; a = time.monotonic();"
        "Recorder(sys.argv[1]); print(round(time.monotonic() - a, 2),"
        "round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, 1))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True
    )
    seconds, peak = map(float, done.stdout.split())
    return {"seconds": seconds, "peak_mb": peak}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.long_runs", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "long_runs.json")
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS, help="of each of two lanes")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    for steps in options.steps:
        with tempfile.TemporaryDirectory() as base:
            runs = Path(base) / "runs"
            write_run(runs, RACE, race_events(100))
            found: dict[str, Any] = {"events_mb": round(write_long(runs, steps), 1)}
            for name in ROUTES:
                found[name] = measure(runs, name)
                print(f"{steps} steps x 2, {name}: {json.dumps(found[name])}", flush=True)
            found["recorder"] = start_of_recorder(runs / LONG.id)
            print(f"{steps} steps x 2, recorder: {found['recorder']}", flush=True)
            results[f"{steps} x 2"] = found
    results |= {
        **conditions(),
        "streamlit": version("streamlit"),
    }
    write(options.out, results)
    print(f"Written to {options.out}")


if __name__ == "__main__":
    finish(main)
