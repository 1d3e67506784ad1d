"""What 10,000 finished runs cost: routes, pages, and a supervisor that has nothing to do.

`python -m benchmarks.many_runs [--runs 10000] [--out FILE]` fills a temporary store with finished
runs in the real format (a fifth trainings, two fifths races and measurements each), and times the
server's list, every page in Streamlit's test driver, a look at all folders, and the supervisor.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest

from benchmarks import RESULTS, conditions, cpu_seconds, write
from dashboard.kit.pages import pages
from ngf.config import Choice, MeasureSpec, PurifySpec, Spec, Training, TrainSpec
from ngf.places import ROOT
from ngf.runs.files import to_json
from ngf.runs.folder import ATTEMPTS, EVENTS, REQUEST, RESULT, SPEC
from ngf.runs.store import Store
from ngf.terminal import finish
from tests.helpers.pages import NAVIGATION, checked
from tests.helpers.processes import PIPELINE, wait_status
from tests.helpers.run_folders import get, race_events, server

TIMES = 5  # of each of which the median is told
IDLE = 45.0  # seconds for which the supervisor is watched: it looks at everything every 30


def fill(root: Path, count: int) -> None:
    """Write `count` finished runs."""
    trained: list[TrainSpec] = []
    events = "".join(
        to_json({"seq": seq, "t": 0.1 * seq, **event}) + "\n"
        for seq, event in enumerate(race_events(20))
    )
    for k in range(count):
        spec: Spec
        if k % 5 == 0:
            spec = TrainSpec(attack=Choice("badnets"), seed=10_000 + k)
            trained.append(spec)
        elif k % 5 < 3:
            parent = random.Random(k).choice(trained).id
            spec = PurifySpec(parent=parent, lanes=(Choice("ngf"), Choice("sgd")), seed=k)
        else:
            target = random.Random(k).choice(trained).id
            spec = MeasureSpec(target=target, measurement=Choice("fisher_trace"), seed=k)
        folder = root / spec.id
        folder.mkdir(parents=True)
        at = f"2026-01-{1 + k % 28:02d}T{k // 3600 % 24:02d}:{k // 60 % 60:02d}:{k % 60:02d}+00:00"
        (folder / SPEC).write_text(to_json(spec.to_json()))
        (folder / REQUEST).write_text(to_json({"owner": "", "submitted_at": at, "queued_at": at}))
        (folder / ATTEMPTS).write_text("1")
        (folder / EVENTS).write_text(events)
        (folder / RESULT).write_text(to_json(result(spec)))


def result(spec: Spec) -> dict[str, Any]:
    """What a run of this kind leaves."""
    rates: dict[str, Any] = {
        "ca": 0.95,
        "asr": 0.03,
        "ra": 0.9,
        "n_clean": 2400,
        "n_triggered": 2200,
    }
    rates |= {f"{name}_interval": [0.9, 0.97] for name in ("ca", "asr", "ra")}
    about = {"environment": {"ngf": "0.1.0", "torch": "2.14", "device": "cpu", "threads": 2}}
    if isinstance(spec, TrainSpec):
        return {**rates, **about, "seconds": 33.0}
    if isinstance(spec, MeasureSpec):
        values = {"trace": 1.0, "data": "clean", "n": 512, "seed": 0, "batch_norm": "eval"}
        return {"values": values, "complete": True, **about}
    lane = {"after": rates, "der": 0.9, "layer": "last", "lr": 0.01, "seconds": 2.0, "steps": 100}
    lanes = {name: lane for name in spec.lane_names()}
    return {"before": rates, "after": rates, "der": 0.9, "lanes": lanes, **about}


def median(work: Any, times: int = TIMES) -> float:
    """Median seconds of `work()`."""
    found = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return round(statistics.median(found), 3)


def looks(root: Path, zoo: Path) -> dict[str, float]:
    """Seconds to list all runs: for the first process, for a later one, and again."""
    first = median(lambda: Store(root, zoo).runs(), 1)
    store = Store(root, zoo)
    later = median(store.runs, 1)
    again = []
    for _ in range(TIMES):
        time.sleep(2)  # so that nothing is answered from the look before
        again.append(median(store.runs, 1))
    return {"first_s": first, "later_process_s": later, "again_s": statistics.median(again)}


def routes(root: Path) -> dict[str, float]:
    """Seconds to an answer of the real server."""
    found = {}
    with server(root) as url:
        get(f"{url}/api/runs")
        for name, query in (
            ("page", ""),
            ("filtered", "?kind=train&status=done&limit=100"),
            ("last_page", "?offset=9000"),
        ):
            found[f"{name}_s"] = median(lambda query=query: get(f"{url}/api/runs{query}"))
    return found


def opened() -> dict[str, float]:
    """Seconds in which each page is drawn, in a process that has drawn it before."""
    found = {}
    for name in pages():

        def draw(name: str = name) -> None:
            page = AppTest.from_string(NAVIGATION.format(first=name), default_timeout=300)
            checked(page.run())

        draw()
        found[name] = median(draw, 3)
        print(f"{name:10}{found[name]:.2f} s", flush=True)
    return found


def supervise(root: Path) -> dict[str, float]:
    """Cores that a supervisor takes while nothing happens, and seconds from a request to its end's
    first sign: the start of a run by a warm child.
    """
    command = [sys.executable, "-m", "ngf.runs.supervisor", "--root", str(root)]
    process = subprocess.Popen([*command, "--pipeline", PIPELINE], cwd=ROOT)
    try:
        time.sleep(12)  # its first look, and two warm children
        before, started = cpu_seconds(process.pid), time.monotonic()
        time.sleep(IDLE)
        cores = (cpu_seconds(process.pid) - before) / (time.monotonic() - started)
        run = Store(root).submit(TrainSpec(seed=1, training=Training(epochs=1, batch_size=2)))
        submitted = time.perf_counter()
        wait_status(run, "running", "done")
        return {"idle_cores": round(cores, 4), "start_s": round(time.perf_counter() - submitted, 3)}
    finally:
        process.terminate()
        process.wait(30)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.many_runs", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=RESULTS / "many_runs.json")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # Streamlit's, outside of a server
    with tempfile.TemporaryDirectory() as base:
        root = Path(base) / "runs"
        fill(root, options.runs)
        os.environ["NGF_RUNS"] = str(root)
        results: dict[str, Any] = {"runs": options.runs}
        for name, work in (
            ("list", lambda: looks(root, Path(base) / "zoo")),
            ("api", lambda: routes(root)),
            ("pages", opened),
            ("supervisor", lambda: supervise(root)),
        ):
            results[name] = work()
            print(name, json.dumps(results[name]), flush=True)
    results |= {
        **conditions(),
    }
    write(options.out, results)
    print(f"Written to {options.out}")


if __name__ == "__main__":
    finish(main)
