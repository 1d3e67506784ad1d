"""`python -m dashboard`: both processes start together, end together, and say what is wrong."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.run_folders import ROOT, free_port, get


def launch(runs: Path, port: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "dashboard", "--headless", "--port", str(port)],
        cwd=ROOT,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "NGF_RUNS": str(runs), "NGF_DEVICE": "cpu"},
    )


def test_a_port_in_use_is_said_with_the_next_free_one(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = launch(tmp_path / "runs", port)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 3
    assert f"Port {port} is in use" in said and "python -m dashboard --port " in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_both_start_and_end_together(tmp_path: Path, number: signal.Signals) -> None:
    port = free_port()
    process = launch(tmp_path / "runs", port)
    assert process.stdout
    try:
        line = process.stdout.readline()
        assert f"http://127.0.0.1:{port}" in line and "ready after" in line
        url = f"http://127.0.0.1:{port}/api/health"
        until = time.monotonic() + 60
        while not get(url)[2]["supervised"]:
            assert time.monotonic() < until, "no supervisor"
            time.sleep(0.1)
        children = children_of(process.pid)
        assert len(children) == 2
        assert "Runs are kept in" in process.stdout.readline()
        own = process.stdout.readline().split()[-1]
        assert own.startswith(f"http://127.0.0.1:{port}/own?token=")
        assert get(own)[0] == 200 and get(own)[0] == 403  # it works, and it works once
        process.send_signal(number)
        assert process.wait(60) == 0
        assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_killed_supervisor_is_started_again(tmp_path: Path) -> None:
    port = free_port()
    process = launch(tmp_path / "runs", port)
    assert process.stdout
    try:
        assert "ready after" in process.stdout.readline()
        url = f"http://127.0.0.1:{port}/api/health"
        wait_for(lambda: get(url)[2]["supervised"])
        server_pid = get(url)[2]["pid"]
        first = [pid for pid in children_of(process.pid) if pid != server_pid][0]
        os.kill(first, signal.SIGKILL)
        wait_for(
            lambda: [pid for pid in children_of(process.pid) if pid not in (server_pid, first)]
        )
        wait_for(lambda: get(url)[2]["supervised"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def wait_for(what: object, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not what():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.1)


def children_of(pid: int) -> list[int]:
    return [
        int(child)
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    ]
