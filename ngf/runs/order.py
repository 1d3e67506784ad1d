"""Which waiting run starts next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ngf.runs.store import Run


def fair_order(queued: Iterable[Run], starts: Mapping[str, float]) -> list[Run]:
    """Queued runs in the order in which they start: owners take turns, first come first within an
    owner.

    `starts` is when each owner's last start was; the owner who has waited longest since then is
    next.
    """
    lines: dict[str, list[Run]] = {}
    for run in sorted(queued, key=lambda run: (run.request["queued_at"], run.id)):
        lines.setdefault(run.request["owner"], []).append(run)
    turn = {owner: 0 for owner in lines}
    order = []
    while lines:
        owner = min(
            lines, key=lambda o: (turn[o], starts.get(o, 0.0), lines[o][0].request["queued_at"])
        )
        order.append(lines[owner].pop(0))
        turn[owner] += 1
        if not lines[owner]:
            del lines[owner]
    return order


def last_starts(runs: Iterable[Run]) -> dict[str, float]:
    """When each owner's last start was, in seconds since 1970."""
    starts: dict[str, float] = {}
    for run in runs:
        try:
            started = (run.path / "attempts").stat().st_mtime
        except FileNotFoundError:
            continue
        owner = run.request["owner"]
        starts[owner] = max(starts.get(owner, 0.0), started)
    return starts
