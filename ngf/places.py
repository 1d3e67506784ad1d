"""Where things are: the program, what ships with it, what it keeps. Imports no torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from ngf.options import SpecError

_HERE = Path(__file__).resolve().parent
ROOT = _HERE.parent  # the folder that holds the packages
# Zoo, recordings and evidence: inside the package where it was installed, beside it in a checkout.
ASSETS = _HERE / "assets" if (_HERE / "assets").is_dir() else ROOT / "assets"
ZOO = ASSETS / "zoo"
EARLIER = ASSETS / "earlier"  # models of earlier zoos, which old runs and links go back to
RECORDINGS = ASSETS / "recordings"  # purifications of models of the zoo
MEASUREMENTS = ASSETS / "measurements"  # of these and of the zoo: what pages show at once


def cache_dir() -> Path:
    """Where things that can be made again are kept: `NGF_CACHE`, else the user's cache folder."""
    if os.environ.get("NGF_CACHE"):
        return Path(os.environ["NGF_CACHE"])
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ngf-dashboard"


def data_dir() -> Path:
    """Where data sets live: `NGF_DATA`, else a folder in the cache."""
    return Path(os.environ.get("NGF_DATA") or cache_dir() / "data")


def imports_dir() -> Path:
    """Where images lie that came with imported models, a folder for each."""
    return data_dir() / "imports"


def runs_dir() -> Path:
    """Where runs are kept: `NGF_RUNS`, else `runs` in the folder of the caller. Raises SpecError
    for links that lead in a circle.
    """
    path = real(os.environ.get("NGF_RUNS") or "runs")
    if path.is_symlink():  # what is left of a circle
        raise SpecError(f"{path} is a link that leads nowhere. Set NGF_RUNS to a folder.")
    return path


def real(path: str | Path) -> Path:
    """`path` in full, without links; a circle of links stays as it is, to be refused by who opens
    it (`Path.resolve` raises RuntimeError).
    """
    return Path(os.path.realpath(path))


def child_environment(**more: str) -> Mapping[str, str]:
    """Environment of a Python process of ours, so that it finds these packages in any folder.

    Installed packages are found anyhow; in a checkout their folder goes into `PYTHONPATH`.
    """
    if not (ROOT / "pyproject.toml").exists():
        return {**os.environ, **more}
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, **more}


def program(module: str) -> str:
    """What a person calls it by: the installed command of that name, or `python -m <module>`."""
    called = Path(sys.argv[0]).stem
    return called if called in ("ngf", "ngf-dashboard") else f"python -m {module}"
