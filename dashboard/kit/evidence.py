"""What was measured beforehand and ships with the project, in `assets/evidence`."""

from __future__ import annotations

from typing import Any

from ngf import places
from ngf.runs.files import read_once


def evidence(name: str) -> dict[str, Any] | None:
    """What `assets/evidence/<name>.json` holds; None when the file is missing. Do not change it."""
    found: dict[str, Any] | None = read_once(places.ASSETS / "evidence" / f"{name}.json")
    return found
