"""Start the dashboard: the web server and, next to it, the supervisor that executes runs.

`python -m dashboard [--port 8501] [--headless]`. Both end together: on Ctrl-C or SIGTERM (exit code
0), or when the web server ends by itself (its exit code). A supervisor that crashes is started
again. Runs live in the folder `NGF_RUNS`, by default ./runs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import webbrowser
from types import FrameType

from ngf.places import child_environment, program, runs_dir

ADDRESS = "127.0.0.1"
PORT_IN_USE = 3  # exit code
_SERVED = 3  # exit code of a supervisor that finds another one at work
_GRACE = 20.0  # seconds for a child to save its work; then it is killed
_PATIENCE = 120.0  # seconds for the server to answer; a busy machine takes its time
_TICK = 0.1  # seconds between two looks at the children


def is_free(port: int) -> bool:
    """Whether a server could listen on `port`."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if os.name == "posix":  # as the server does: a port that was just closed is free
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError:
            return False
    return True


def choose_port(port: int, headless: bool) -> int | None:
    """`port`, or the next free one if somebody at the terminal agrees; else None."""
    if is_free(port):
        return port
    other = next(
        (number for number in range(port + 1, min(port + 100, 65_536)) if is_free(number)), None
    )
    print(
        f"Port {port} is in use by another program, perhaps by another dashboard.", file=sys.stderr
    )
    if other is None:
        print("No port near it is free. Choose one with --port.", file=sys.stderr)
        return None
    command = f"{program('dashboard')} --port {other}" + (" --headless" if headless else "")
    print(f"Port {other} is free:  {command}", file=sys.stderr)
    if sys.stdin.isatty() and sys.stderr.isatty():
        print(f"Use port {other}? [Y/n] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() in ("", "y", "yes"):
            return other
    return None


class Dashboard:
    """The two processes, and what happens when one of them ends."""

    def __init__(self, port: int, headless: bool):
        self.port, self.headless = port, headless
        self.url = f"http://{ADDRESS}:{port}"
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self._stopping = threading.Event()
        self._crashes = 0

    def serve(self) -> int:
        """Run both until they are told to stop or the server ends. Returns the exit code."""
        started = time.monotonic()
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, self._stop)
        try:
            self._start(
                "server",
                "dashboard.server.app",
                "--port",
                str(self.port),
                "--address",
                ADDRESS,
                *(("--parent", str(os.getpid())) if os.name == "posix" else ()),
            )
            self._start("supervisor", "ngf.runs.supervisor")
            threading.Thread(target=self._announce, args=(started,), daemon=True).start()
            threading.Thread(target=_fill_catalogue, daemon=True).start()
            restart_at = 0.0
            while not self._stopping.wait(_TICK):
                if (code := self.children["server"].poll()) is not None:
                    print(f"The web server has ended (exit code {code}).", file=sys.stderr)
                    return code or 1
                restart_at = self._watch_supervisor(restart_at)
            return 0
        finally:
            self._end()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping.set()

    def _start(self, name: str, module: str, *options: str) -> None:
        """Start a child in its own session, so that Ctrl-C reaches it only through us."""
        self.children[name] = subprocess.Popen(
            [sys.executable, "-m", module, *options],
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            stdout=subprocess.DEVNULL if name == "server" else None,
        )  # Streamlit's own greeting

    def _watch_supervisor(self, restart_at: float) -> float:
        """Start the supervisor again when it has ended: soon, then with longer and longer waits.

        restart_at: when it is started again; 0 while it runs. Returns the next `restart_at`.
        """
        code = self.children["supervisor"].poll()
        if code is None:
            return 0.0
        if not restart_at:
            self._crashes += 1
            if code != _SERVED:
                print(
                    f"The supervisor has ended (exit code {code}) and is started again.",
                    file=sys.stderr,
                )
            elif self._crashes == 1:
                print(
                    "Another dashboard executes the runs of this folder; this one takes over when "
                    "it ends.",
                    file=sys.stderr,
                )
            wait = 5.0 if code == _SERVED else min(60.0, 0.25 * 2 ** min(self._crashes, 8))
            return time.monotonic() + wait
        if time.monotonic() >= restart_at:
            self._start("supervisor", "ngf.runs.supervisor")
            return 0.0
        return restart_at

    def _announce(self, started: float) -> None:
        """Print the address when the server answers, and open it in a browser."""
        while not self._stopping.wait(0.05) and time.monotonic() < started + _PATIENCE:
            with (
                contextlib.suppress(urllib.error.URLError, OSError),
                urllib.request.urlopen(f"{self.url}/api/health", timeout=2),
            ):
                print(
                    f"The dashboard is ready after {time.monotonic() - started:.1f} s:  "
                    f"{self.url}\nRuns are kept in "
                    f"{runs_dir()}. Press Ctrl-C to "
                    "stop.",
                    flush=True,
                )
                self._open()
                return
        if not self._stopping.is_set():
            print(f"The web server does not answer on {self.url}.", file=sys.stderr)

    def _open(self) -> None:
        """Open the browser that may control every run, or print the link that makes one so."""
        from dashboard.server.identity import link  # late: the server starts meanwhile

        try:
            own = link(self.url)
        except OSError as error:  # a full disk: the dashboard works without
            print(f"No browser can control every run: {error}", file=sys.stderr)
            own = self.url
        if self.headless or not webbrowser.open(own):
            print(f"The browser that opens this, once, controls every run:  {own}", flush=True)

    def _end(self) -> None:
        """End both; the supervisor gets time to save its runs, then they are killed."""
        for child in self.children.values():
            if child.poll() is None:
                child.terminate()
        until = time.monotonic() + _GRACE
        for child in self.children.values():
            try:
                child.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _fill_catalogue() -> None:
    """Make the list of plug-ins while the server starts, so that the first page need not wait."""
    from ngf.catalogue import catalogue

    try:
        catalogue()
    except RuntimeError as exc:  # a page that needs the list says the same
        print(exc, file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog=program("dashboard"), description=__doc__.split("\n")[0])
    parser.add_argument("--port", type=int, default=8501, help="port of the server (default: 8501)")
    parser.add_argument("--headless", action="store_true", help="do not open a browser")
    options = parser.parse_args(argv)
    if not 1 <= options.port <= 65_535:
        parser.error(f"--port {options.port} is out of range. Allowed: 1 to 65535.")
    port = choose_port(options.port, options.headless)
    return PORT_IN_USE if port is None else Dashboard(port, options.headless).serve()


if __name__ == "__main__":
    sys.exit(main())
