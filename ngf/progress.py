"""How far something is, told to whoever asked: `progress(phase, step, steps)`."""

from __future__ import annotations

from collections.abc import Callable

# Call it often, with step 0 first; it may raise to stop what goes on.
Progress = Callable[[str, int, int], None]


def quiet(phase: str, step: int, steps: int) -> None:
    """A `Progress` that tells nobody."""
