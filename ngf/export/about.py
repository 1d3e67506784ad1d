"""What goes with everything that leaves the program: of which run it is, how many images and which
seed are behind it, what computed it, and how to get it again. No torch.
"""

from __future__ import annotations

from typing import Any

import ngf
from ngf.export.command import EARLIER, commands
from ngf.options import SpecError
from ngf.runs.store import Run

PARTIAL = "partial"
_VERSIONS = ("ngf", "numbers", "torch", "torchvision", "numpy", "python", "device", "hardware")


def about(run: Run) -> dict[str, Any]:
    """Plain JSON: `run`, `kind`, `status`, `partial` (whether the run has not ended well), `seed`,
    `n` (images behind the rates or the measurement), `versions` of who computed it, `repeat` (the
    commands that do).

    Raises SpecError for a run that was deleted or damaged since.
    """
    facts, status = run.facts, run.status
    found: dict[str, Any] = {
        "run": run.id,
        "kind": facts.spec.kind,
        "status": status,
        PARTIAL: status != "done",
        "seed": facts.spec.seed,
        "n": _counts(run),
        "versions": {
            name: facts.environment[name] for name in _VERSIONS if facts.environment.get(name)
        },
        "repeat": commands(run) or [f"# {EARLIER}"],
    }
    return found


def in_lines(of: list[dict[str, Any]]) -> list[str]:
    """What `about` says of each run, as short lines of text, and by which version they were
    written.
    """
    lines = []
    for one in of:
        state = f", PARTIAL: it is {one['status']}" if one[PARTIAL] else ""
        lines.append(f"run: {one['run']}{state}")
        lines.append(f"seed: {one['seed']}")
        counted = ", ".join(f"{count:,} {of_what}" for of_what, count in one["n"].items())
        if counted:
            lines.append(f"n: {counted}")
        if one["versions"]:
            told = ", ".join(f"{name} {value}" for name, value in one["versions"].items())
            lines.append(f"computed by: {told}")
        lines += [f"repeat: {text}" for text in one["repeat"]]
    return [*lines, f"written by: ngf {ngf.__version__}"]


def known(runs: list[Run]) -> list[dict[str, Any]]:
    """`about` of each run that is still there."""
    found = []
    for run in runs:
        try:
            found.append(about(run))
        except SpecError:
            found.append(
                {
                    "run": run.id,
                    "kind": run.kind,
                    "status": "deleted",
                    PARTIAL: True,
                    "seed": run.spec.seed,
                    "n": {},
                    "versions": {},
                    "repeat": [],
                }
            )
    return found


def _counts(run: Run) -> dict[str, int]:
    """Images by what they are."""
    counts: dict[str, int] = {}
    for row in run.facts.rows:
        for name, words in (("n_clean", "clean test images"), ("n_triggered", "triggered ones")):
            if row.get(name):
                counts[words] = row[name]
        if row.get("num_clean"):
            counts["clean images of the defender"] = row["num_clean"]
    values = (run.result or {}).get("values") or {} if run.kind == "measure" else {}
    if isinstance(values.get("n"), int):
        counts[f"images ({values.get('data', 'of the measurement')})"] = values["n"]
    return counts
