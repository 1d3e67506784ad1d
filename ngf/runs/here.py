"""What a process takes from its surroundings, not from a specification, and what follows when two
processes differ in it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from ngf import NUMBERS
from ngf.machine import gpu_names
from ngf.places import data_dir, real


def here() -> dict[str, str]:
    """The surroundings of this process as texts."""
    return {"data": str(real(data_dir())), "device": _device()}


def _device() -> str:
    """What `NGF_DEVICE` asks for; auto is the processor where nothing else is there to be found."""
    asked = os.environ.get("NGF_DEVICE", "auto")
    maybe_more = gpu_names() or sys.platform == "darwin"
    return "cpu" if asked == "auto" and not maybe_more else asked


def differs(there: Mapping[str, Any], files: bool) -> str:
    """Why a process with the surroundings `there` would give another run than this one; empty when
    it would not.

    files: whether the run reads files of the data folder.
    """
    mine, why = here(), []
    if files and there.get("data", mine["data"]) != mine["data"]:
        why.append(f"it reads data from {there['data']}, this terminal from {mine['data']}")
    if there.get("device", mine["device"]) != mine["device"]:
        why.append(f"it computes on {there['device']}, this terminal on {mine['device']}")
    return "; ".join(why)


def remarks(about: Mapping[str, Any]) -> list[str]:
    """What a reader of a finished run should know because asking now could give other numbers: it
    was computed on another device than this process asks for, or by a version with other numbers.

    about: the environment of its result (see `ngf.environment`), empty before the end.
    """
    found = []
    wanted = os.environ.get("NGF_DEVICE", "auto")
    if wanted != "auto" and about.get("device") not in (None, wanted):
        found.append(
            f"It was computed on {about['device']}, not on NGF_DEVICE={wanted}. Delete it to "
            "compute it again."
        )
    if about and about.get("numbers", 1) != NUMBERS:
        found.append(
            f"It was computed by version {about.get('ngf', '?')}, whose numbers differ from those "
            "of this version. Delete it to compute it again."
        )
    return found
