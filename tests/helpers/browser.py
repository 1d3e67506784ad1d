"""The dashboard as its command starts it, and what a browser waits for on its pages."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from ngf.places import ROOT

CHROMIUM = "/usr/bin/chromium"
SETTLED = (
    "[data-testid=stApp][data-test-script-state=notRunning]"  # the page's script has run to its end
)
WAIT = 90_000  # milliseconds: an upper bound for a busy machine; nothing waits longer than it must


class Server:
    """`python -m dashboard`, restarted on the same port and store."""

    def __init__(self, folder: Path):
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        environment = {**os.environ, "NGF_RUNS": str(self.folder / "runs"), "NGF_DEVICE": "cpu"}
        log = open(self.folder / "server.log", "a", encoding="utf-8")  # noqa: SIM115 - the child writes to it
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dashboard", "--headless", "--port", str(self.port)],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
        )
        log.close()
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(self.log())
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"{self.url}/api/health", timeout=2),
            ):
                return
            time.sleep(0.1)  # nothing can be waited on before the port is open
        raise RuntimeError(self.log())

    def stop(self) -> None:
        """As Ctrl-C does: web server, supervisor and children end."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(60)

    def kill_web_server(self) -> None:
        """Kill the web server alone; the command notices and ends what it started beside it."""
        assert self.process is not None
        os.kill(self.get("health")["pid"], signal.SIGKILL)
        self.process.wait(60)

    def log(self) -> str:
        return (self.folder / "server.log").read_text(encoding="utf-8")[-4000:]

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/api/{path}", timeout=60) as answer:
            return json.load(answer)


def visit(page: Page, server: Server, path: str = "") -> None:
    page.set_default_timeout(WAIT)
    page.goto(f"{server.url}/{path}", timeout=WAIT)
    expect(page.locator("h1").first).to_be_visible(timeout=WAIT)
    expect(page.locator("[data-testid=stException]")).to_have_count(0)


def wait_for_charts(page: Page, count: int) -> None:
    page.wait_for_function(
        "n => document.querySelectorAll('.js-plotly-plot').length >= n", arg=count, timeout=WAIT
    )
