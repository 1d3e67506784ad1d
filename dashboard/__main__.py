"""Start the dashboard: the web server and, next to it, the supervisor that executes runs.

`python -m dashboard [--port 8501] [--headless] [--public-url URL]`. Both end together: on Ctrl-C or
SIGTERM (exit code 0), or when the web server ends by itself (its exit code). A supervisor that
crashes is started again. Runs live in the folder `NGF_RUNS`, by default ./runs.
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
from collections.abc import Sequence
from types import FrameType

from ngf.options import SpecError
from ngf.places import child_environment, program, runs_dir
from ngf.runs.lifeline import Lifeline
from ngf.runs.supervisor import ALREADY_RUNNING, NO_STORE
from ngf.terminal import end_signals

ADDRESS = "127.0.0.1"
PUBLIC_URL = (
    "address that visitors see in their browsers, where it is another one, such as "
    "https://lab.example.org/ngf behind a proxy; may be given several times"
)
BASE_PATH = "path that a proxy leaves in front of ours; that of --public-url need not be repeated"
PORT_IN_USE = 3  # exit code
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


def say(text: str) -> None:
    """Tell the terminal, when it is still there."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


class Dashboard:
    """The two processes, and what happens when one of them ends."""

    def __init__(self, port: int, headless: bool, public: Sequence[str] = (), base: str = ""):
        self.port, self.headless, self.public, self.base = port, headless, public, base
        self.url = f"http://{ADDRESS}:{port}"
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self._stopping = threading.Event()
        self._lifeline = Lifeline()  # kill -9 of this process ends the others as well
        self._ended: int | None = None  # exit code of the last supervisor
        self._crashes = 0

    def serve(self) -> int:
        """Run both until they are told to stop or the server ends. Returns the exit code."""
        started = time.monotonic()
        for name in (signal.SIGINT, *end_signals()):
            signal.signal(name, self._stop)
        try:
            self._start(
                "server",
                "dashboard.server.app",
                "--port",
                str(self.port),
                "--address",
                ADDRESS,
                *(f"--public-url={url}" for url in self.public),
                f"--base-path={self.base}",
            )
            self._start("supervisor", "ngf.runs.supervisor")
            threading.Thread(target=self._announce, args=(started,), daemon=True).start()
            threading.Thread(target=_fill_catalogue, daemon=True).start()
            restart_at = 0.0
            while not self._stopping.wait(_TICK):
                if (code := self.children["server"].poll()) is not None:
                    say(f"The web server has ended (exit code {code}).")
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
            env=child_environment(**self._lifeline.environment),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=self._lifeline.passed,
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
            if code == self._ended:
                pass  # said before
            elif code == ALREADY_RUNNING:
                say(
                    "Another dashboard executes the runs of this folder; this one takes over when "
                    "it ends."
                )
            elif code == NO_STORE:
                say("Nothing can be started until there is a folder for runs (NGF_RUNS).")
            else:
                say(f"The supervisor has ended (exit code {code}) and is started again.")
            self._ended = code
            known = code in (ALREADY_RUNNING, NO_STORE)
            wait = 5.0 if known else min(60.0, 0.25 * 2 ** min(self._crashes, 8))
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
                    f"{self.url}\n"
                    + "".join(f"Visitors reach it at  {url}\n" for url in self.public)
                    + f"Runs are kept in "
                    f"{runs_dir()}. Press Ctrl-C to "
                    "stop.",
                    flush=True,
                )
                self._open()
                return
        if not self._stopping.is_set():
            say(f"The web server does not answer on {self.url}.")

    def _open(self) -> None:
        """Open the browser that may control every run, or print the link that makes one so."""
        from dashboard.server.identity import link  # late: the server starts meanwhile

        try:
            own = link(self.url)
        except OSError as error:  # a full disk: the dashboard works without
            say(f"No browser can control every run: {error}")
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
    parser.add_argument("--public-url", metavar="URL", action="append", default=[], help=PUBLIC_URL)
    parser.add_argument("--base-path", metavar="PATH", default="", help=BASE_PATH)
    options = parser.parse_args(argv)
    if not 1 <= options.port <= 65_535:
        parser.error(f"--port {options.port} is out of range. Allowed: 1 to 65535.")
    if options.public_url or options.base_path:
        from dashboard.server.guard import addresses  # brings Streamlit, which this process spares

        try:
            addresses(options.port, ADDRESS, options.public_url, options.base_path)
        except SpecError as exc:
            parser.error(str(exc))
    port = choose_port(options.port, options.headless)
    if port is None:
        return PORT_IN_USE
    return Dashboard(port, options.headless, options.public_url, options.base_path).serve()


if __name__ == "__main__":
    sys.exit(main())
