"""What a run is doing before its first step, in words; the same for terminal and page. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ngf.defenses.fine_tuning.options import STRENGTHS


def chosen_now(event: Mapping[str, Any]) -> str:
    """What is being chosen: `layer`, `learning rate`."""
    what = str(event.get("what", ""))
    return STRENGTHS.get(what, what.replace("_", " "))


def choosing(event: Mapping[str, Any]) -> str:
    """`choosing the layer, 3 of 10 (stem)`, or `choosing the radius, 0.03 is tried (number 3)`; of
    an event `choosing`.
    """
    number, total, tried = event.get("number") or 0, event.get("total"), event.get("tried")
    shown = f"{tried:g}" if isinstance(tried, float) else str(tried)
    words = f"choosing the {chosen_now(event)}"
    if not number:
        return words + (f" among {total}" if total else "")
    if total:
        return f"{words}, {number} of {total} ({shown})"
    return f"{words}, {shown} is tried (number {number})"
