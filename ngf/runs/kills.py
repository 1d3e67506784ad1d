"""When a run has been killed too often: whoever starts it again asks here first."""

from __future__ import annotations

from collections.abc import Callable

from ngf.runs.child import write_error
from ngf.runs.files import read_json, read_text, to_json, write_atomic
from ngf.runs.folder import CRASHES, EVENTS, LOG
from ngf.runs.log import scan
from ngf.runs.store import Run

MAX_KILLS = 3  # without any progress between them
_PLACE = ("lane", "step", "phase", "layer", "done", "total")  # what tells where an event was


def given_up(run: Run, say: Callable[[str], None]) -> bool:
    """Count a kill of a run that is lost; after the third without progress it has failed, and this
    is True.
    """
    before = read_json(run.path / CRASHES) or {"kills": 0, "progress": None}
    progress = _progress(run)
    kills = before["kills"] + 1 if before.get("progress") == progress else 1
    say(f"{run.id}: its process was killed ({kills} of {MAX_KILLS} times without progress)")
    if kills < MAX_KILLS:
        write_atomic(run.path / CRASHES, to_json({"kills": kills, "progress": progress}))
        return False
    fail(run, kills)
    return True


def fail(run: Run, kills: int) -> None:
    """Let a run have failed because it was killed so many times."""
    tail = (read_text(run.path / LOG) or "").splitlines()[-20:]
    write_error(
        run,
        kind="killed",
        message=f"The run was killed {kills} times without getting any further.",
        advice="Most often the machine was out of memory: use a smaller batch size, fewer "
        "images or a smaller model, or end other programs. Started again, this run goes on "
        "from its last checkpoint.",
        log="\n".join(tail),
    )


def _progress(run: Run) -> list[int]:
    """How far a run has ever got: its last steps, and how many other things its events tell.

    An attempt that starts from the last checkpoint tells again what came after it, and one that has
    none tells everything again; neither is progress. What a measurement finds is none at all,
    because it keeps nothing from one attempt to the next.
    """
    steps: dict[tuple[str, str], int] = {}
    told: set[str] = set()
    for events, _ in scan(run.path / EVENTS):
        for event in events:
            kind, lane = str(event.get("type")), str(event.get("lane"))
            if kind in ("step", "epoch"):
                steps[kind, lane] = max(steps.get((kind, lane), 0), event.get("step") or 0)
            elif kind not in ("phase", "resumed", "partial"):
                told.add(to_json([kind, *(event.get(name) for name in _PLACE)]))
    return [sum(steps.values()), len(told)]
