"""Times that a user feels, in real Chromium on the real server: start-up, click to first point,
step to screen, and in the Trigger studio from a change of the trigger to its attack success rate.

    python -m benchmarks.live [--out benchmarks/results/live.json]

A point is on the screen when the chart in the browser holds it. Its delay is counted from the time
of the event in the run's file, on one clock.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from benchmarks import RESULTS, write
from ngf.places import child_environment
from ngf.runs.folder import EVENTS, RESULT, SPEC
from ngf.runs.recorded import RACE
from ngf.terminal import finish
from tests.helpers.browser import CHROMIUM
from tests.helpers.run_folders import free_port

STARTS = 5
CHANGES = 8
# The last step on the screen with the browser's clock; null before the race is drawn. Other charts
# have no ASR; a race that ships may stand there before.
_LAST_STEP = """shipped => {
  for (const gd of document.querySelectorAll('.js-plotly-plot')) {
    if (gd.closest(`[class*="${shipped}"]`)) continue
    const curves = (gd.data || []).filter(t => / ASR$/.test(t.name || ''))
    const steps = curves.flatMap(t => Array.from(t.x || [])).filter(Number.isFinite)
    if (steps.length) return [Math.max(...steps), Date.now() / 1000]
  }
  return null
}"""

# A picture of the Geometry page: a chart that has points; the one of the zoo is there before the
# click.
_CURVE = """() => [...document.querySelectorAll('.js-plotly-plot')].some(
  gd => (gd.data || []).some(t => (t.y || t.z || []).length > 2) &&
    !/Benign \\(band/.test(gd.data.map(t => t.name).join()))"""

# Whether the Trigger studio shows numbers.
_NUMBERS = "there => /attack success rate \\[/.test(document.body.innerText) === there"


def server(folder: str, port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "dashboard", "--headless", "--port", str(port)],
        env=child_environment(NGF_RUNS=folder),
        start_new_session=True,
    )


def usable(page: Page, url: str) -> None:
    """Wait for the server, as the command does before it opens the browser; then for the
    first chart.
    """
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/api/health", timeout=2):
            break
        time.sleep(0.02)
    page.goto(url)
    page.wait_for_function("() => document.querySelector('.js-plotly-plot')", timeout=60_000)


def races(folder: Path) -> set[Path]:
    """Folders of the purifications; what is measured along them are runs, too."""
    specs = (
        (path, json.loads(path.read_text(encoding="utf-8"))) for path in folder.glob(f"*/{SPEC}")
    )
    return {path.parent for path, spec in specs if spec["kind"] == "purify"}


def race(page: Page, url: str, folder: Path, seed: int) -> tuple[float, list[float]]:
    """One race from the click to its end: seconds to the first point, delays of the steps.

    Raises TimeoutError when nothing appears within two minutes.
    """
    page.goto(f"{url}/lab?race_seed={seed}")
    button = page.get_by_role("button", name="Start")
    button.first.wait_for(timeout=60_000)
    page.wait_for_timeout(8000)  # as a user who reads; the spare child is warm then
    before = races(folder)
    clicked = time.time()
    button.first.click()
    first: float | None = None
    shown: dict[int, float] = {}  # step -> when it was on the screen
    while time.time() - clicked < 120:
        found = page.evaluate(_LAST_STEP, RACE.id)
        if found is not None:
            step, now = found
            first = first or now - clicked
            shown.setdefault(int(step), now)
        if any((path / RESULT).exists() for path in races(folder) - before):
            break
        page.wait_for_timeout(20)
    if first is None:
        raise TimeoutError("No point of the race was on the screen within two minutes.")
    (run,) = races(folder) - before
    # Events count seconds since the run's start; the file's last line and its time tie them to the
    # clock.
    path = run / EVENTS
    events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    offset = path.stat().st_mtime - events[-1]["t"]
    written: dict[int, float] = {}
    for event in events:
        if event["type"] == "step" and "ca" in event:
            written.setdefault(event["step"], event["t"] + offset)
    delays = []
    for step, at in written.items():
        later = [when for seen, when in shown.items() if seen >= step]
        if later and step:
            delays.append(min(later) - at)
    return first, delays


def picture(page: Page, url: str, seed: int) -> float:
    """Seconds from the click on Measure to the first curve of a loss slice on the Geometry page."""
    page.goto(
        f"{url}/geometry?seed={seed}&benign=0"
    )  # the newest race: nothing of this seed is there yet
    button = page.get_by_role("button", name=re.compile(r"^straighten Measure \(\d|^Measure \(\d"))
    button.first.wait_for(timeout=60_000)
    page.wait_for_timeout(8000)
    clicked = time.time()
    button.first.click()
    page.wait_for_function(_CURVE, timeout=60_000, polling=20)
    first = time.time() - clicked
    page.get_by_role("button", name="Stop measuring").click()
    page.wait_for_timeout(3000)
    return first


def triggers(page: Page, url: str, changes: int) -> list[float]:
    """Seconds from each key that changes the trigger in the studio to the numbers of the
    changed one, 500 images.
    """
    page.goto(f"{url}/studio")
    slider = page.get_by_role("slider", name="Opacity")
    slider.wait_for(state="attached", timeout=60_000)
    page.wait_for_timeout(8000)
    seconds = []
    for _ in range(changes):
        pressed = time.time()
        slider.press("ArrowLeft")
        for there in (False, True):  # numbers of the trigger before go, those of this one come
            page.wait_for_function(_NUMBERS, arg=there, timeout=60_000, polling=10)
        seconds.append(time.time() - pressed)
        page.wait_for_timeout(1500)
    return seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "live.json")
    parser.add_argument("--races", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        page, port = browser.new_page(), free_port()
        url, starts, firsts, delays = f"http://127.0.0.1:{port}", [], [], []
        for number in range(STARTS):  # the first one may read the libraries from the disk
            started = time.time()
            process = server(folder, port)
            try:
                usable(page, url)
                starts.append(time.time() - started)
                for race_number in range(options.races if number == STARTS - 1 else 0):
                    first, seen = race(page, url, Path(folder), 50 + race_number)
                    firsts.append(first)
                    delays += seen
                if number == STARTS - 1:
                    pictures = [picture(page, url, 60 + k) for k in range(options.races)]
                    changes = triggers(page, url, CHANGES)
            finally:
                os.killpg(process.pid, signal.SIGINT)
                process.wait()
        browser.close()
    delays.sort()
    found = {
        "start_to_usable_page_seconds": statistics.median(starts),
        "all_starts": starts,
        "click_to_first_point_seconds": statistics.median(firsts),
        "all_clicks": firsts,
        "click_to_first_picture_seconds": statistics.median(pictures),
        "all_pictures": pictures,
        "trigger_change_to_rate_seconds": statistics.median(changes),
        "all_trigger_changes": changes,
        "step_to_screen_p50_seconds": statistics.median(delays),
        "step_to_screen_p95_seconds": delays[int(0.95 * (len(delays) - 1))],
        "steps": len(delays),
        "races": options.races,
        "cores": os.cpu_count(),
    }
    write(options.out, found)
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(finish(main))
