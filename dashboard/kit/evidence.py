"""What was measured beforehand and ships with the project, in `assets/evidence`."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from ngf import places


def evidence(name: str) -> dict[str, Any] | None:
    """What `assets/evidence/<name>.json` holds; None when the file is missing."""
    path = places.ASSETS / "evidence" / f"{name}.json"
    try:
        changed = path.stat().st_mtime_ns
    except FileNotFoundError:
        return None
    return _read(path, changed)


@functools.lru_cache(maxsize=32)
def _read(path: Path, changed: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
