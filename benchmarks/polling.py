"""How many readers one server serves: 30 clients that poll events, and 30 that poll a chart, once a
second each.

`python -m benchmarks.polling [--out FILE]` starts the real server over a temporary store with one
race in it, which goes on by one step a second while it is read. Prints the median and 95th
percentile of the time to an answer.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import statistics
import sys
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import RESULTS, conditions, cpu_seconds, write
from ngf.terminal import finish
from tests.helpers.run_folders import RACE, append, free_port, get, race_events, server, write_run

CLIENTS, SECONDS, STEPS = 30, 15, 300


def poll(host: str, route: str, offset: float, seconds: float, times: list[float]) -> None:
    """One client: asks once a second over one connection, each time for what is new. `times`
    in seconds.
    """
    time.sleep(offset)
    connection = http.client.HTTPConnection(host, timeout=30)
    since, end = "", time.monotonic() + seconds
    while time.monotonic() < end:
        started = time.monotonic()
        connection.request(
            "GET", route + (f"?since={since}" if since else ""), headers={"Accept-Encoding": "gzip"}
        )
        answer = connection.getresponse()
        raw = answer.read()
        times.append(time.monotonic() - started)
        assert answer.status == 200, raw
        since = follow(raw, answer.headers.get("Content-Encoding", ""))
        time.sleep(max(0.0, started + 1 - time.monotonic()))
    connection.close()


def follow(raw: bytes, encoding: str) -> str:
    """What to ask for next: the version of a chart, the number of events."""
    body = json.loads(gzip.decompress(raw) if encoding == "gzip" else raw)
    return str(body.get("version", body.get("next")))


def measure(url: str, route: str, folder: Path, step: int, seconds: float) -> dict[str, float]:
    """30 clients on `route` while the race goes on from `step`. Times in milliseconds, CPU in
    cores.
    """
    times: list[list[float]] = [[] for _ in range(CLIENTS)]
    host = url.removeprefix("http://")
    threads = [
        threading.Thread(target=poll, args=(host, route, i / CLIENTS, seconds, times[i]))
        for i in range(CLIENTS)
    ]
    pid = get(f"{url}/api/health")[2]["pid"]
    before, started = cpu_seconds(pid), time.monotonic()
    for thread in threads:
        thread.start()
    events = race_events(STEPS, STEPS, 1)
    while any(thread.is_alive() for thread in threads):
        append(folder, [event for event in events if event["step"] == step])
        step += 1
        time.sleep(1)
    cores = (cpu_seconds(pid) - before) / (time.monotonic() - started)
    flat = sorted(1000 * value for own in times for value in own)
    return {
        "requests": len(flat),
        "p50_ms": round(statistics.median(flat), 2),
        "p95_ms": round(flat[int(0.95 * len(flat))], 2),
        "max_ms": round(flat[-1], 2),
        "server_cores": round(cores, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.polling", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "polling.json")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="length of each of the two measurements"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as base:
        runs = Path(base) / "runs"
        folder = write_run(runs, RACE, race_events(100, STEPS, 1))
        port = free_port()
        with server(
            runs, [sys.executable, "-m", "dashboard.server.app", "--port", str(port)], port
        ) as url:
            results: dict[str, Any] = {}
            for name, route in (
                ("events", f"/api/runs/{RACE.id}/events"),
                ("chart", f"/api/runs/{RACE.id}/charts/race"),
            ):
                results[name] = measure(
                    url, route, folder, 101 + 60 * len(results), options.seconds
                )
                print(
                    f"{name:7}{CLIENTS} clients at 1 Hz: p50 {results[name]['p50_ms']:.1f} ms, p95 "
                    f"{results[name]['p95_ms']:.1f} ms, {results[name]['server_cores']:.2f} cores "
                    "of the server"
                )
    results |= {
        "clients": CLIENTS,
        "seconds": options.seconds,
        **conditions(),
        "streamlit": version("streamlit"),
    }
    write(options.out, results)
    print(f"Written to {options.out}")


if __name__ == "__main__":
    finish(main)
