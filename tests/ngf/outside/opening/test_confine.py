"""What a process that has shut itself in can no longer do."""

from __future__ import annotations

import os
import subprocess
import sys

from ngf.places import child_environment

SHUT = """
import os, socket, subprocess
from ngf.outside.opening import confine
from ngf.outside.opening.refusal import Limits
confine.leave_network()
confine.set_limits(Limits(), 1000)
confine.shut()
tries = {
    "socket": lambda: socket.socket(),
    "program": lambda: subprocess.run(["true"]),
    "system": lambda: os.system("true"),
    "fork": lambda: os.fork(),
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "write": lambda: open("written", "w"),
    "folder": lambda: os.mkdir("written"),
    "remove": lambda: os.remove("kept"),
}
for name, go in tries.items():
    try:
        go()
        print(name, "went")
    except PermissionError:
        pass
"""


def test_the_child_is_shut_in(tmp_path):
    (tmp_path / "kept").touch()
    done = subprocess.run(
        [sys.executable, "-c", SHUT],
        cwd=tmp_path,
        env=child_environment(),
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    assert os.listdir(tmp_path) == ["kept"]
