"""What a visitor waits for on pages that are measured beforehand, and what live curvature costs a
race, in real Chromium on the real server.

    python -m benchmarks.first_look [--out benchmarks/results/first_look.json]

A page counts as drawn when its charts hold points; a ball as moving when it lies elsewhere than
before.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from analysis import asking
from benchmarks import RESULTS, conditions, write
from benchmarks.live import race, server, triggers, usable
from ngf.config import Choice, MeasureSpec, PurifySpec
from ngf.runs.folder import FINAL
from ngf.runs.recorded import LANES, RACE
from ngf.runs.store import Run, Store
from ngf.terminal import finish
from tests.helpers.browser import CHROMIUM
from tests.helpers.run_folders import free_port

TIMES = 5
CHANGES = 6
# Charts that hold points.
_DRAWN = """n => [...document.querySelectorAll('.js-plotly-plot')].filter(
  gd => (gd.data || []).some(t => (t.x || t.z || []).length > 2)).length >= n"""
_ALL = """() => {
  const boxes = [...document.querySelectorAll('.ngf-figure')]
  return boxes.length > 5 && boxes.every(box => box.querySelector('.main-svg, canvas'))
}"""
# Where the ball of the second panel lies.
_BALL = """() => {
  for (const gd of document.querySelectorAll('.js-plotly-plot')) {
    const ball = (gd.data || []).find(t => t.mode === 'markers' && t.hoverinfo === 'skip')
    if (ball) return ball.x[0]
  }
  return null
}"""


def seconds(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def start_page(page: Page, url: str) -> float:
    """From the address to three panels with a ball that moves."""

    def look() -> None:
        page.goto(url)
        page.wait_for_function(_DRAWN, arg=3, polling=20, timeout=60_000)
        page.wait_for_function(f"() => ({_BALL})() !== null", polling=20, timeout=60_000)
        at = page.evaluate(_BALL)
        page.wait_for_function(f"at => ({_BALL})() !== at", arg=at, polling=20, timeout=60_000)

    return seconds(look)


def geometry(page: Page, url: str) -> tuple[float, float]:
    """From the address to the first picture, and to all of them."""
    started = time.monotonic()
    page.goto(f"{url}/geometry?run={RACE.id}")
    page.wait_for_function(_DRAWN, arg=1, polling=20, timeout=60_000)
    first = time.monotonic() - started
    page.wait_for_function(_ALL, polling=50, timeout=60_000)
    return first, time.monotonic() - started


def ended(run: Run) -> Run:
    while run.status not in ("done", "failed"):
        time.sleep(0.05)
    if run.status == "failed":
        raise RuntimeError(f"{run.id} failed: {run.error}")
    return run


def lasted(run: Run) -> float:
    """Seconds between the first and the last step of a race."""
    times = [event["t"] for event in run.events() if event["type"] == "step"]
    return float(times[-1] - times[0])


def slowdown(store: Store, seeds: Sequence[int]) -> dict[str, Any]:
    """Races alone and, in turn, with curvature measured along both lanes."""
    alone: list[float] = []
    followed: list[float] = []
    for seed in seeds:
        for times, offset in ((alone, 0), (followed, 1000)):
            spec = PurifySpec(parent=RACE.parent, lanes=LANES, seed=seed + offset)
            run = store.submit(spec)
            along = [
                store.submit(asking.along(f"{run.id}:{lane}"))
                for lane in (spec.lane_names() if offset else ())
            ]
            times.append(lasted(ended(run)))
            for one in along:  # only the race is timed
                if one.status not in FINAL:
                    one.control("cancel")
            while any(one.status not in FINAL for one in along):
                time.sleep(0.05)
    ratios = [b / a for a, b in zip(alone, followed, strict=True)]
    return {
        "race_alone_seconds": alone,
        "race_with_curvature_seconds": followed,
        "slowdown": statistics.median(ratios),
    }


def probes(page: Page, url: str, store: Store) -> list[float]:
    """In the studio from a change to its rate, while a long measurement goes on."""
    long = store.submit(
        MeasureSpec(
            target=RACE.parent,
            measurement=Choice("hessian_spectrum", {"num_images": 2000, "steps": 200}),
        )
    )
    found = triggers(page, url, CHANGES)
    if long.status != "running":
        raise RuntimeError(f"The long measurement is {long.status}: nothing was in the way.")
    long.control("cancel")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "first_look.json")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        page, port = browser.new_page(viewport={"width": 1280, "height": 900}), free_port()
        url, store = f"http://127.0.0.1:{port}", Store(Path(folder))
        process = server(folder, port)
        try:
            usable(page, url)
            starts = [start_page(page, url) for _ in range(TIMES + 1)][1:]  # warm
            pictures = [geometry(page, url) for _ in range(TIMES + 1)][1:]
            delays = sorted(
                delay for k in range(3) for delay in race(page, url, Path(folder), 50 + k)[1]
            )
            print(f"pages and races: {starts}, {pictures}", flush=True)
            found |= slowdown(store, range(200, 200 + TIMES))
            print(found, flush=True)
            changes = probes(page, url, store)
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.wait()
        browser.close()
    found |= {
        "start_to_ball_seconds": statistics.median(starts),
        "all_starts": starts,
        "geometry_first_picture_seconds": statistics.median(first for first, _ in pictures),
        "geometry_all_pictures_seconds": statistics.median(whole for _, whole in pictures),
        "all_geometry": pictures,
        "step_to_screen_p95_with_curvature_seconds": delays[int(0.95 * (len(delays) - 1))],
        "steps": len(delays),
        "probe_beside_long_measurement_seconds": statistics.median(changes),
        "all_probes": changes,
        **conditions(),
    }
    write(options.out, found)
    print({name: value for name, value in found.items() if not isinstance(value, list)})
    return 0


if __name__ == "__main__":
    sys.exit(finish(main))
