"""Run folders and events written by hand in the real format, and a real server over them; no
training.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ngf.catalogue import normalize
from ngf.config import Choice, MeasureSpec, PurifySpec, Spec, TrainSpec
from ngf.places import ROOT
from ngf.runs.folder import ARRAYS, CONTROL, EVENTS, REQUEST, RESULT, SPEC
from ngf.runs.store import Store, TrainRun

TRAIN = TrainSpec(attack=Choice("badnets"), seed=9001)  # no run of the zoo has this seed
RACE = PurifySpec(parent=TRAIN.id, lanes=(Choice("ngf"), Choice("sgd")))


def race_events(steps: int = 100, total: int = 100, every: int = 5) -> list[dict[str, Any]]:
    """A race in which NGF removes the backdoor and SGD does not, up to step `steps` of `total`."""
    events: list[dict[str, Any]] = []
    for k in range(steps + 1):
        for lane in ("ngf", "sgd"):
            event: dict[str, Any] = {
                "type": "step",
                "lane": lane,
                "step": k,
                "steps": total,
                "loss": 0.3 * math.exp(-k / 40) + 0.02,
                "lr": 0.01,
                "damping": 0.01 if lane == "ngf" else None,
                "kl": None,
                "update_norm": 0.1,
                "distance": (2.0 if lane == "ngf" else 0.4) * (1 - math.exp(-k / 30)),
                "fisher_trace": 40 * math.exp(-k / (25 if lane == "ngf" else 400)),
            }
            if k % every == 0:
                gone = 1 / (1 + math.exp((k - 35) / 6)) if lane == "ngf" else 1.0
                event |= {
                    "ca": 0.992 - (0.006 * k / total if lane == "ngf" else 0.001),
                    "asr": 0.004 + 0.993 * gone if lane == "ngf" else 0.999,
                    "ra": 0.985 * (1 - gone) if lane == "ngf" else 0.001,
                }
            events.append(event)
    return events


def long_race(steps: int) -> Iterator[dict[str, Any]]:
    """A race with the noise of minibatches, evaluated after every step."""
    noise = random.Random(0)
    for k in range(steps + 1):
        for lane in ("ngf", "sgd"):
            event: dict[str, Any] = {"type": "step", "lane": lane, "step": k, "steps": steps}
            event |= {"loss": 0.02 + 0.3 * math.exp(-5 * k / steps) * noise.random(), "lr": 0.01}
            event |= {"damping": 0.01 if lane == "ngf" else None, "kl": None}
            event |= {"update_norm": 0.1 * noise.random(), "distance": 2 * k / steps}
            event |= {"fisher_trace": 40 * math.exp(-5 * k / steps) * (0.5 + noise.random())}
            rates = {"ca": 0.98, "asr": 0.99 * math.exp(-9 * k / steps), "ra": 0.5}
            event |= {key: rate - 0.01 * noise.random() for key, rate in rates.items()}
            yield event


def epoch_events(epochs: int = 12, total: int = 20) -> list[dict[str, Any]]:
    return [
        {
            "type": "epoch",
            "step": k,
            "steps": total,
            "loss": 1.8 * math.exp(-k / 4) + 0.03,
            "lr": 0.1,
            "ca": 0.99 - 0.6 * math.exp(-k / 3),
            "asr": 1 - math.exp(-k / 2),
            "ra": 0.1 * math.exp(-k / 2),
        }
        for k in range(1, epochs + 1)
    ]


def write_run(root: Path, spec: Spec, events: list[dict[str, Any]], *, done: bool = False) -> Path:
    """A run folder of the user: done, or waiting for a supervisor."""
    folder = root / spec.id
    folder.mkdir(parents=True)
    (folder / SPEC).write_text(json.dumps(spec.to_json()), encoding="utf-8")
    (folder / REQUEST).write_text(
        json.dumps({"owner": "", "submitted_at": "2026-01-01T00:00:00+00:00"}), encoding="utf-8"
    )
    append(folder, events)
    if done:
        rates = {"ca": 0.986, "asr": 0.004, "ra": 0.98}
        (folder / RESULT).write_text(
            json.dumps(
                rates
                if isinstance(spec, TrainSpec)
                else {
                    "before": {"ca": 0.992, "asr": 0.997, "ra": 0.0},
                    "after": rates,
                    "lanes": {
                        lane: {"after": rates, "steps": 100, "seconds": 1.0}
                        for lane in (
                            spec.lane_names() if isinstance(spec, PurifySpec) else ("ngf",)
                        )
                    },
                }
            ),
            encoding="utf-8",
        )
    return folder


def weak_run(root: Path, reason: str, spec: TrainSpec = TRAIN) -> TrainRun:
    """A finished training of a model that counts as weak."""
    folder = write_run(root, spec, epoch_events(), done=True)
    result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    result["weak"] = {"reason": reason, "missed": []}
    (folder / RESULT).write_text(json.dumps(result), encoding="utf-8")
    return TrainRun(Store(root), folder, "user")


def measured(
    store: Store,
    name: str,
    target: str,
    values: dict[str, Any],
    arrays: dict[str, np.ndarray],
    *,
    complete: bool | None = True,
    **options: Any,
) -> MeasureSpec:
    """A measurement run: finished (whole or partial), or stopped without a result (None)."""
    spec = MeasureSpec(target=target, measurement=normalize("measurements", Choice(name, options)))
    values = {"data": "clean", "n": 64, "seed": 0, "batch_norm": "eval", **values}
    folder = write_run(
        store.root, spec, [{"type": "partial", **values, "fraction": 1.0, "done": bool(complete)}]
    )
    np.savez(folder / ARRAYS, allow_pickle=False, **arrays)
    if complete is None:
        (folder / CONTROL).write_text("cancel", encoding="utf-8")
    else:
        (folder / RESULT).write_text(
            json.dumps({"values": values, "complete": complete}), encoding="utf-8"
        )
    return spec


def append(folder: Path, events: list[dict[str, Any]]) -> None:
    """Add events to events.jsonl, numbered on."""
    path = folder / EVENTS
    first = len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0
    with open(path, "a", encoding="utf-8") as file:
        for seq, event in enumerate(events, start=first):
            file.write(json.dumps({"seq": seq, "t": 0.1 * seq, **event}) + "\n")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def server(
    runs: Path,
    command: list[str] | None = None,
    port: int | None = None,
    health: str = "api/health",
) -> Iterator[str]:
    """The real web server in its own process over the store `runs`; gives its address."""
    port = port or free_port()
    command = command or [sys.executable, "-m", "dashboard.server.app", "--port", str(port)]
    log = open(runs.parent / "server.log", "wb")  # noqa: SIM115 (closed below)
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**os.environ, "NGF_RUNS": str(runs), "PYTHONPATH": str(ROOT)},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 120  # on a busy machine
        while True:
            try:
                get(f"{url}/{health}")
                break
            except (urllib.error.URLError, ConnectionError) as exc:
                if process.poll() is not None or time.monotonic() > until:
                    text = (runs.parent / "server.log").read_text(encoding="utf-8")
                    raise RuntimeError(f"The server did not start:\n{text}") from exc
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(60)
        log.close()


def get(url: str, headers: dict[str, str] | None = None) -> tuple[int, Any, Any]:
    """Status, headers and parsed JSON (or text) of a GET, errors included."""
    request = urllib.request.Request(url, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            status, about, body = answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as exc:
        with exc:
            status, about, body = exc.code, exc.headers, exc.read()
    if "json" in about.get("Content-Type", ""):
        return status, about, json.loads(body)
    return status, about, body
