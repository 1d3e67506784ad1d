"""Programs whose readers leave, whose streams are closed or full, and who are told to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from ngf.places import ROOT

PRINTS = """
import sys, warnings
from ngf.terminal import finish

def main():
    for number in range(20_000):
        print("line", number, "\\udcff")
    print("an error", file=sys.stderr)
    warnings.warn("a warning")
    return 0

sys.exit(finish(main))
"""

ENDS = """
import signal, sys
from ngf.terminal import ended_by_signals, finish

signal.signal(signal.SIGHUP, signal.SIG_IGN if sys.argv[1] == "nohup" else signal.SIG_DFL)

def main():
    try:
        with ended_by_signals():
            print("ready", flush=True)
            sys.stdin.read()
    except KeyboardInterrupt:
        return 130
    return 0

sys.exit(finish(main))
"""


def shell(line: str, code: str = PRINTS) -> subprocess.CompletedProcess[str]:
    """A line of bash in which `$P` is the program; the exit codes of its parts come last."""
    return subprocess.run(
        ["bash", "-c", f'P() {{ "$PY" -c "$CODE"; }}; {line}'],
        cwd=ROOT,
        env={**os.environ, "PY": sys.executable, "CODE": code},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(os.name != "posix", reason="the shell is that of POSIX")
@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("P >/dev/null", 0),
        ("P | head -1; exit ${PIPESTATUS[0]}", 0),
        ("P 2>&1 | head -1; exit ${PIPESTATUS[0]}", 0),
        ("P | true; exit ${PIPESTATUS[0]}", 0),
        ("P >&-", 0),
        ("P >/dev/null 2>&-", 0),
        ("P >&- 2>&- <&-", 0),
        ("P >/dev/null 2>/dev/full", 0),
        ("P >/dev/full 2>/dev/full", 1),
        ("LC_ALL=C PYTHONIOENCODING=ascii P >/dev/null", 0),
    ],
)
def test_who_reads_does_not_matter(line: str, code: int) -> None:
    done = shell(line)
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert "Broken pipe" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="the shell is that of POSIX")
def test_output_that_did_not_arrive_is_said() -> None:
    done = shell("P >/dev/full")
    assert done.returncode == 1
    assert "could not be written: No space left" in done.stderr
    assert "an error" in done.stderr and "a warning" in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
@pytest.mark.parametrize(
    ("started", "number", "code"),
    [
        ("plainly", signal.SIGTERM, 130),
        ("plainly", signal.SIGINT, 130),
        ("plainly", signal.SIGHUP, 130),
        ("nohup", signal.SIGHUP, 0),
    ],
)
def test_signals_end_a_command(started: str, number: signal.Signals, code: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ENDS, started],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        process.communicate()
    assert process.returncode == code
