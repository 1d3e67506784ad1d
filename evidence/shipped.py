"""Where the files that ship lie, and how they are read and written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ngf.places import ASSETS, ROOT
from ngf.runs.files import plain, write_atomic

EVIDENCE = ASSETS / "evidence"
MINIMA = EVIDENCE / "minima"  # one file per model
MINIMA_PURIFIED = EVIDENCE / "minima_purified"  # one file per model
SHARPNESS = EVIDENCE / "sharpness.json"  # what minima and minima_purified say together
LARGE = EVIDENCE / "large"  # one card per model
METHODS = EVIDENCE / "methods.json"  # what every method leaves, in tables
ARENA = EVIDENCE / "arena.json"  # every defense against every attack, in tables
DETECTORS = EVIDENCE / "detectors.json"  # how well checkups tell backdoored models from benign ones
SURROGATE = EVIDENCE / "surrogate.json"  # how well what a defender sees ranks purifications
SUMMARY = EVIDENCE / "summary.json"  # the claims
EQUAL_STEPS = EVIDENCE / "equal_steps.json"  # of a last layer in two directions
PAIRS = EVIDENCE / "pairs.json"  # walks out of a backdoored and a benign minimum
README = ROOT / "README.md"


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def read_all(folder: Path) -> list[dict[str, Any]]:
    """Every JSON file of a folder, by name."""
    return [read(path) for path in sorted(folder.glob("*.json"))]


def as_text(found: Mapping[str, Any]) -> str:
    """JSON as it ships: one value per line, so that a change can be read in a diff."""
    return json.dumps(plain(found), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write(path: Path, found: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, as_text(found))


def differs(path: Path, text: str) -> bool:
    """Whether a file holds another text than this, or is not there."""
    return not path.exists() or path.read_text(encoding="utf-8") != text
