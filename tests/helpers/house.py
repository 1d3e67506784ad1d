"""A copy of the source tree in a temporary folder, for tests that add files to it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from ngf.places import ROOT

COPIED = ("ngf", "analysis", "dashboard", "tests", "pyproject.toml")
LINKED = ("assets",)


class House:
    """The copy at `root`, with runs and caches of its own; programs run in it as in the original
    one.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True)
        for name in COPIED:
            if (ROOT / name).is_dir():
                leave = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, root / name, ignore=leave)
            else:
                shutil.copy(ROOT / name, root / name)
        for name in LINKED:
            (root / name).symlink_to(ROOT / name, target_is_directory=True)

    def write(self, place: str, text: str) -> None:
        """A new file. Raises FileExistsError rather than to replace one."""
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)

    def insert(self, place: str, after: str, text: str) -> None:
        """Lines after the one line that reads `after`."""
        path = self.root / place
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        (where,) = [k for k, line in enumerate(lines) if line.rstrip() == after.rstrip()]
        lines.insert(where + 1, text)
        path.write_text("".join(lines), encoding="utf-8")

    def run(self, command: str, **environment: str) -> str:
        """Standard output of a command; `python` is the one that runs the tests."""
        words = [sys.executable if word == "python" else word for word in shlex.split(command)]
        own = {
            "NGF_RUNS": str(self.root / "runs"),
            "NGF_CACHE": str(self.root / ".cache"),
            "NGF_TESTS_CACHE": str(self.root / ".cache"),
            "NGF_DATA": str(self.root / "data"),
            "PYTHONPATH": str(self.root),
        }
        done = subprocess.run(
            words,
            cwd=self.root,
            env={**os.environ, **own, **environment},
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout
