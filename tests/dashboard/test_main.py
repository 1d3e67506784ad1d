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

from dashboard.__main__ import is_free
from ngf.config import Choice, Training, TrainSpec
from ngf.runs.folder import CRASHES
from ngf.runs.store import Store
from tests.helpers.run_folders import ROOT, free_port, get


def launch(runs: Path, port: int, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "dashboard", "--headless", "--port", str(port), *options],
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


def test_a_public_address_that_is_none_is_said_before_the_start(tmp_path: Path) -> None:
    for options in (["--public-url", "lab.example.org"], ["--base-path", "a b"]):
        process = launch(tmp_path / "runs", free_port(), *options)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 2 and "such as" in said and options[0] in said


def test_a_public_address_reaches_the_server(tmp_path: Path) -> None:
    port = free_port()
    options = ("--public-url=https://lab.example.org/ngf", "--base-path=/inner")
    process = launch(tmp_path / "runs", port, *options)
    assert process.stdout
    try:
        assert "ready after" in process.stdout.readline()
        assert "https://lab.example.org/ngf" in process.stdout.readline()
        own = {"Host": "lab.example.org", "Origin": "https://lab.example.org"}
        for path in ("", "/ngf", "/inner"):
            assert get(f"http://127.0.0.1:{port}{path}/api/health", own)[0] == 200
        own["Origin"] = "https://lab.example.org:8443"
        assert get(f"http://127.0.0.1:{port}/api/health", own)[0] == 403
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_both_start_and_end_together(tmp_path: Path, number: signal.Signals) -> None:
    port = free_port()
    process = launch(tmp_path / "runs", port)
    assert process.stdout
    try:
        line = process.stdout.readline()
        assert f"http://127.0.0.1:{port}" in line and "ready after" in line
        url = f"http://127.0.0.1:{port}/api/health"
        until = time.monotonic() + 120
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


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_kill_minus_nine_of_the_dashboard_leaves_nothing_behind(tmp_path: Path) -> None:
    """Web server, supervisor, the child at work and the one that waits: all end, and the run goes
    on from its checkpoint with the next dashboard.
    """
    port, store = free_port(), Store(tmp_path / "runs", tmp_path / "zoo")
    training = Training(num_images=600, epochs=300, batch_size=64, min_ca=0.0, min_asr=0.0)
    run = store.submit(TrainSpec(attack=Choice("badnets"), training=training))
    process = launch(store.root, port)
    assert process.stdout
    try:
        assert "ready after" in process.stdout.readline()
        wait_for(lambda: any(event["type"] == "epoch" for event in run.events()), 120)
        everyone = descendants_of(process.pid)
        assert len(everyone) >= 3
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    wait_for(lambda: not any(map(is_alive, everyone)))
    assert is_free(port) and not store.supervised and run.status == "lost"
    assert run.attempts == 1 and not (run.path / CRASHES).exists()  # it was ended in order


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


def wait_for(what: object, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not what():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.1)


def descendants_of(pid: int) -> list[int]:
    found = children_of(pid)
    return found + [other for child in found for other in descendants_of(child)]


def is_alive(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rpartition(")")[2].split()[0] != "Z"  # a dead one that nobody waited for


def children_of(pid: int) -> list[int]:
    return [
        int(child)
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    ]
