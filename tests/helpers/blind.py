"""Preloaded by a Dask worker, has it live on a file system whose locks hold on one machine only."""

from __future__ import annotations

from pathlib import Path

from ngf.runs.files import Lock


def _is_held(path: Path) -> bool:
    return False


Lock.is_held = staticmethod(_is_held)  # type: ignore[method-assign]
