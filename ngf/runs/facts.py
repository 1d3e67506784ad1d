"""What the small files of a run folder say, checked before anybody relies on it.

A folder that holds anything else than what a run writes is damaged, as a whole: it is left out of
every list with a note, and neither executed nor followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ngf.config import Spec, spec_from_json
from ngf.options import SpecError
from ngf.runs.files import Damaged, parse_json, read_json, read_text
from ngf.runs.folder import (
    ATTEMPTS,
    BEFORE,
    COMMANDS,
    CONTROL,
    CRASHES,
    ERROR,
    REQUEST,
    RESULT,
    SPEC,
    STATE,
    WAYPOINTS,
)
from ngf.runs.rows import RATES, Row, rows_of

_FOLDERS = (STATE, WAYPOINTS)
_COUNT = 9  # digits of the largest count


@dataclass(frozen=True)
class Facts:
    """A run folder at one moment, but for what its process appends to.

    id: the name that follows from the specification.
    request: `owner`; `sweep`, the one that asked for it, empty for none; `submitted_at` and
        `queued_at`, ISO 8601 in UTC.
    ended: done or failed; empty while neither.
    command: what was asked of it last: pause, resume, cancel, or nothing; starts: the number of
        starts that goes with resume.
    attempts: how often it was started; started: when last, in seconds since 1970, 0 for never.
    rows: what its result says, one row per lane (see `ngf.runs.rows`).
    weak: why the model of a training counts as weak; None for others.
    environment: what computed it, once it is done.
    size: bytes of all its files.
    """

    id: str
    spec: Spec
    request: Mapping[str, str]
    ended: Literal["done", "failed", ""]
    command: str
    starts: int
    attempts: int
    started: float
    rows: tuple[Row, ...]
    weak: str | None
    environment: Mapping[str, Any]
    size: int


def read_facts(path: Path) -> Facts:
    """Read and check the run folder `path`. Raises SpecError (Damaged, where a file is not what a
    run writes).
    """
    found = read_json(path / SPEC)
    if found is None:
        raise SpecError(f"{path.name} is no run: it has no {SPEC}.")
    size = _check_entries(path)
    spec = spec_from_json(found)
    request = _texts(path / REQUEST)
    submitted_at = request.get("submitted_at", "")
    command, starts = _control(path)
    error, result = _object(path / ERROR), _object(path / RESULT)
    _check_result(spec, result)
    weak = (result or {}).get("weak")
    if error is not None and not all(
        isinstance(error.get(key), str) for key in ("kind", "message", "advice")
    ):
        raise Damaged(f"{ERROR} lacks kind, message or advice.")
    _check_crashes(path)
    return Facts(
        id=spec.id,
        spec=spec,
        request={
            "owner": request.get("owner", ""),
            "sweep": request.get("sweep", ""),
            "submitted_at": submitted_at,
            "queued_at": request.get("queued_at", submitted_at),
        },
        ended="done" if result is not None else "failed" if error is not None else "",
        command=command,
        starts=starts,
        attempts=_number(path, ATTEMPTS, (read_text(path / ATTEMPTS) or "").strip() or "0"),
        started=_changed(path / ATTEMPTS),
        rows=tuple(rows_of(spec, result)),
        weak=str(weak.get("reason")) if isinstance(weak, dict) else None,
        environment=(result or {}).get("environment") or {},
        size=size,
    )


def check_links(path: Path) -> None:
    """Raise Damaged when anything inside a run folder is a link, a pipe or a device: whoever
    executes the run would write or wait wherever it leads.
    """
    for base, folders, names in os.walk(path):
        for name in (*folders, *names):
            mode = os.lstat(os.path.join(base, name)).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise Damaged(f"{name} is a link or a pipe; a run holds files and folders.")


def _check_entries(path: Path) -> int:
    """Bytes of all files below `path`. Raises Damaged for what a run does not keep there."""
    size = 0
    if path.is_symlink():
        raise Damaged(f"{path.name} is a link; a run is a folder.")
    with os.scandir(path) as entries:
        for entry in entries:
            try:
                about = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # a temporary file whose moment is over
                continue
            mode, size = about.st_mode, size + about.st_size
            if stat.S_ISDIR(mode):
                fits = entry.name in _FOLDERS or entry.name.startswith((".", BEFORE))
                size += _size(entry.path)
            else:
                fits = stat.S_ISREG(mode) and entry.name not in _FOLDERS
                if not os.access(entry.path, os.R_OK) and os.path.lexists(entry.path):
                    raise Damaged(f"{entry.name} cannot be read by this user.")
            if not fits:
                raise Damaged(f"{entry.name} is not what a run keeps under that name.")
    return size


def _size(folder: str) -> int:
    size = 0
    for base, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                size += os.lstat(os.path.join(base, name)).st_size
    return size


def _object(path: Path) -> dict[str, Any] | None:
    text = read_text(path)
    if text is None:
        return None
    found = parse_json(text, path.name)
    if isinstance(found, dict):
        return found
    raise Damaged(f"{path.name} is no JSON object.")


def _texts(path: Path) -> dict[str, str]:
    found = _object(path) or {}
    if not all(isinstance(value, str) for value in found.values()):
        raise Damaged(f"{path.name} holds something else than texts.")
    return found


def _number(path: Path, name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _COUNT):
        raise Damaged(f"{name} holds {text[:40]!r}, which is no number.")
    return int(text)


def _control(path: Path) -> tuple[str, int]:
    text = (read_text(path / CONTROL) or "").strip()
    command, _, starts = text.partition(" ")
    if text and command not in COMMANDS:
        raise Damaged(f"{CONTROL} holds {text[:40]!r}. Allowed: {', '.join(COMMANDS)}.")
    return command, _number(path, CONTROL, starts or "0")


def _check_crashes(path: Path) -> None:
    found = _object(path / CRASHES)
    if found is not None and not isinstance(found.get("kills"), int):
        raise Damaged(f"{CRASHES} lacks the number of kills.")


def _check_result(spec: Spec, result: Mapping[str, Any] | None) -> None:
    """Raise Damaged for a result without what every reader of this kind of run relies on."""
    if result is None:
        return
    if not isinstance(result.get("environment") or {}, dict):
        raise Damaged(f"{RESULT} has no environment.")
    _check_numbers(result)
    if spec.kind == "train":
        _check_rates(result)
    elif spec.kind == "measure":
        if not isinstance(result.get("values", {}), dict):
            raise Damaged(f"{RESULT} has no values.")
    else:
        lanes = result.get("lanes", {})
        if not isinstance(lanes, dict) or not all(isinstance(one, dict) for one in lanes.values()):
            raise Damaged(f"{RESULT} has no lanes.")
        for lane in lanes.values():
            _check_numbers(lane)
        found = [result.get("before"), *(one.get("after") for one in lanes.values())]
        for rates in (one for one in found if one is not None):
            if not isinstance(rates, dict):
                raise Damaged(f"{RESULT} has no rates.")
            _check_rates(rates)


def _check_rates(rates: Mapping[str, Any]) -> None:
    _check_numbers(rates)
    for name in RATES:
        between = rates.get(f"{name}_interval")
        if between is not None and not (
            isinstance(between, list) and len(between) == 2 and all(map(_is_number, between))
        ):
            raise Damaged(f"{RESULT}: {name}_interval is no interval.")
    if rates.get("ca") is None:
        raise Damaged(f"{RESULT} has no clean accuracy.")


def _check_numbers(found: Mapping[str, Any]) -> None:
    """Raise Damaged where a column of a row is not what it should be."""
    for name in (*RATES, "n_clean", "n_triggered", "seconds", "lr", "steps", "der"):
        if found.get(name) is not None and not _is_number(found[name]):
            raise Damaged(f"{RESULT}: {name} is no number.")
    if not isinstance(found.get("layer", ""), (str, type(None))):
        raise Damaged(f"{RESULT}: layer is no text.")
    diverged = found.get("diverged")
    if diverged is not None and not (
        isinstance(diverged, dict) and isinstance(diverged.get("step"), int)
    ):
        raise Damaged(f"{RESULT}: diverged has no step.")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
