"""A class and its teacher: many browsers on one server while a race goes on.

`python -m benchmarks.classroom [--clients 30 60] [--seconds 120] [--out FILE]`. Each client is what
a browser is to the server: a WebSocket that opens the Lab and runs the page again every five
seconds, and a poll of the race's events once a second. Told are the times to an answer, errors, and
the memory of the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from benchmarks import RESULTS, conditions, cpu_seconds, write
from ngf.catalogue import catalogue
from ngf.terminal import finish
from tests.helpers.run_folders import RACE, append, free_port, get, race_events, server, write_run

EVERY = 5.0  # seconds between two runs of a client's page
STEPS = 4000  # of the race; it stands still after them
PATIENCE = 60.0  # seconds until no answer is an error


class Times:
    """What the clients of one measurement saw, in seconds."""

    def __init__(self) -> None:
        self.found: dict[str, list[float]] = {"first_page": [], "rerun": [], "poll": []}
        self.errors: list[str] = []

    def summary(self) -> dict[str, Any]:
        out: dict[str, Any] = {"errors": len(self.errors), "examples": self.errors[:3]}
        for name, seconds in self.found.items():
            flat = sorted(1000 * value for value in seconds)
            out[name] = {
                "n": len(flat),
                "p50_ms": round(statistics.median(flat), 1) if flat else None,
                "p95_ms": round(flat[int(0.95 * len(flat))], 1) if flat else None,
                "max_ms": round(flat[-1], 1) if flat else None,
            }
        return out


async def visit(host: str, until: float, offset: float, times: Times) -> None:
    """One browser: opens the Lab on the race, then runs the page again and again."""
    await asyncio.sleep(offset)
    state: dict[str, str] = {}
    try:
        async with websockets.connect(
            f"ws://{host}/_stcore/stream",
            origin=f"http://{host}",  # type: ignore[arg-type]
            subprotocols=["streamlit"],  # type: ignore[list-item]
            max_size=None,
        ) as page:
            times.found["first_page"].append(await draw(page, state))
            polls = asyncio.create_task(poll(host, until, times))
            while time.monotonic() + EVERY < until:
                await asyncio.sleep(EVERY * random.uniform(0.8, 1.2))
                times.found["rerun"].append(await draw(page, state))
            await polls
    except (OSError, TimeoutError, websockets.WebSocketException, AssertionError) as exc:
        times.errors.append(f"{type(exc).__name__}: {exc}")


async def draw(page: Any, state: dict[str, str]) -> float:
    """Have the page drawn once; seconds until it was."""
    started = time.monotonic()
    message = BackMsg()
    message.rerun_script.query_string = f"run={RACE.id}"
    message.rerun_script.page_name = "" if state else "lab"
    message.rerun_script.page_script_hash = state.get("page", "")
    await page.send(message.SerializeToString())
    while True:
        answer = ForwardMsg()
        answer.ParseFromString(await asyncio.wait_for(page.recv(), PATIENCE))
        if answer.HasField("navigation"):
            state["page"] = answer.navigation.page_script_hash
        if answer.HasField("script_finished"):
            assert answer.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY
            return time.monotonic() - started


async def poll(host: str, until: float, times: Times) -> None:
    """Ask for new events once a second, as the live chart does."""
    since = 0
    while time.monotonic() < until:
        started = time.monotonic()
        try:
            body = await asyncio.to_thread(ask, f"http://{host}/api/runs/{RACE.id}/events", since)
        except OSError as exc:
            times.errors.append(f"{type(exc).__name__}: {exc}")
        else:
            times.found["poll"].append(time.monotonic() - started)
            since = body["next"]
        await asyncio.sleep(max(0.0, started + 1 - time.monotonic()))


def ask(url: str, since: int) -> Any:
    with urllib.request.urlopen(f"{url}?since={since}", timeout=PATIENCE) as answer:
        return json.loads(answer.read())


def memory(pid: int) -> float:
    """Resident memory of a process in MB; 0 where the system does not tell."""
    path = Path(f"/proc/{pid}/statm")
    if not path.exists():
        return 0.0
    pages = int(path.read_text(encoding="utf-8").split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


async def crowd(url: str, folder: Path, clients: int, seconds: float) -> dict[str, Any]:
    """`clients` browsers for some seconds, while the race goes on by ten steps a second."""
    step = 101
    host, times, pid = url.removeprefix("http://"), Times(), get(f"{url}/api/health")[2]["pid"]
    until, started, spent = time.monotonic() + seconds, time.monotonic(), cpu_seconds(pid)
    track = [memory(pid)]
    visitors = [
        asyncio.create_task(visit(host, until, EVERY * k / clients, times)) for k in range(clients)
    ]
    while time.monotonic() < until:
        if step + 9 <= STEPS:
            append(folder, race_events(step + 9, STEPS)[2 * step :])
            step += 10
        await asyncio.sleep(1)
        if len(track) < 1 + (time.monotonic() - started) / 60:
            track.append(memory(pid))
    await asyncio.gather(*visitors)
    cores = (cpu_seconds(pid) - spent) / (time.monotonic() - started)
    track.append(memory(pid))
    return {
        "clients": clients,
        "seconds": seconds,
        **times.summary(),
        "server_cores": round(cores, 2),
        "memory_mb_each_minute": track,
        "load_average": round(os.getloadavg()[0], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.classroom", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--clients", type=int, nargs="+", default=[30, 60])
    parser.add_argument("--seconds", type=float, default=120.0, help="length of each measurement")
    parser.add_argument("--out", type=Path, default=RESULTS / "classroom.json")
    options = parser.parse_args()
    results: dict[str, Any] = {"crowds": []}
    catalogue()  # made when a dashboard starts, not by its first visitor
    for clients in options.clients:  # a server and a race of its own for each, from step 100 on
        with tempfile.TemporaryDirectory() as base:
            folder, port = (
                write_run(Path(base) / "runs", RACE, race_events(100, STEPS)),
                free_port(),
            )
            command = [sys.executable, "-m", "dashboard.server.app", "--port", str(port)]
            with server(Path(base) / "runs", command, port) as url:
                found = asyncio.run(crowd(url, folder, clients, options.seconds))
        results["crowds"].append(found)
        print(json.dumps(found), flush=True)
    results |= {
        **conditions(),
    }
    write(options.out, results)
    print(f"Written to {options.out}")


if __name__ == "__main__":
    finish(main)
