"""A run folder as bytes, for workers that do not see the store: what a run starts from goes there,
what came out comes back. The files are those of the run, none is read here.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from ngf.catalogue import catalogue
from ngf.config import MeasureSpec, PurifySpec, Spec, Target
from ngf.options import SpecError
from ngf.runs.files import READABLE, fsync_tree
from ngf.runs.folder import (
    BEFORE,
    CONTROL,
    CRASHES,
    ERROR,
    LOCK,
    LOG,
    REQUEST,
    RESULT,
    SPEC,
    STATE,
    WAYPOINTS,
)
from ngf.runs.store import Run

Parcel = dict[str, bytes]  # name below the folder, with slashes -> content
_HERE = {SPEC, REQUEST, CONTROL, LOCK}  # decided where the store is; what comes back leaves them
_OPENED = (STATE, CRASHES)  # gone when a run has ended well
_LAST = (RESULT, ERROR)  # with these a run has ended: everything else is there before
_NEW = ".arriving-"  # folder of what is being unpacked


def pack(folder: Path, without: Iterable[str] = ()) -> Parcel:
    """All files of a run folder but its lock, what is half written, what earlier attempts left, and
    entries named in `without`.
    """
    out = {LOCK, *without}
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for entry in sorted(folder.iterdir())
        if entry.name not in out and not entry.name.startswith((".", BEFORE))
        for path in ([entry] if entry.is_file() else sorted(entry.rglob("*")))
        if path.is_file()
    }


def pack_origin(run: Run, path_too: bool) -> Parcel:
    """What others need of a run that they start from. path_too: its weights on the way as well."""
    return pack(run.path, (STATE, LOG, CONTROL, *(() if path_too else (WAYPOINTS,))))


def origins(run: Run) -> dict[str, bool]:
    """Names of the runs of people that `run` starts from, at first hand or not, and whether it
    reads the weights on their way. What ships with the program is everywhere.
    """
    found: dict[str, bool] = {}
    waiting = [run]
    while waiting:
        one = waiting.pop()
        path_too = one is run and _reads_path(one.spec)
        for name in _named(one.spec):
            other = run.store.find(name)
            if other is not None and other.source == "user":
                if other.id not in found:
                    waiting.append(other)
                found[other.id] = found.get(other.id, False) or path_too
    return found


def _named(spec: Spec) -> list[str]:
    """Runs that a specification names."""
    if isinstance(spec, PurifySpec):
        fork = spec.fork()
        return [spec.parent, *([fork.run] if fork else [])]
    if not isinstance(spec, MeasureSpec):
        return []
    others = str(spec.measurement.options.get(_needs(spec).get("others", ""), ""))
    named = [spec.target, *others.split(",")]
    return [Target.parse(name.strip()).run for name in named if name.strip()]


def _reads_path(spec: Spec) -> bool:
    if isinstance(spec, PurifySpec):
        return bool(spec.start)
    return isinstance(spec, MeasureSpec) and bool(_needs(spec).get("path"))


def _needs(spec: MeasureSpec) -> dict[str, str]:
    about = catalogue()["measurements"].get(spec.measurement.name, {})
    needs = dict(about.get("needs", {}))
    for option, by_value in about.get("needs_with", {}).items():
        needs = by_value.get(spec.measurement.options.get(option), needs)
    return needs


def unpack(folder: Path, parcel: Parcel) -> None:
    """Make the folder `folder` of a parcel. Raises SpecError for names that lead out of it."""
    for name, content in parcel.items():
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts:
            raise SpecError(f"{name!r} is no file of a run.")
        path = folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(READABLE)


def take_in(run: Run, parcel: Parcel) -> None:
    """Put what came back into the folder of `run`, whose lock is held: unpacked beside it first,
    then entry by entry, what ends the run last. Killed at any moment, the run has ended or has not.
    """
    forget(run)
    new = Path(tempfile.mkdtemp(prefix=_NEW, dir=run.path))
    try:
        unpack(new, {name: content for name, content in parcel.items() if name not in _HERE})
        fsync_tree(new)
        entries = sorted((path.name for path in new.iterdir()), key=_LAST.__contains__)
        for name in (*(one for one in _OPENED if one not in entries), *entries):
            _replace(run.path / name, new / name)
    finally:
        forget(run)


def forget(run: Run) -> None:
    """Remove what a kill has left half unpacked."""
    for left in run.path.glob(f"{_NEW}*"):
        shutil.rmtree(left)


def _replace(old: Path, new: Path) -> None:
    """Put `new` in the place of `old`; nothing, where there is no `new`."""
    if old.is_dir():
        os.rename(old, new.with_name(f".{new.name}"))
    if new.exists():
        os.replace(new, old)
    elif old.exists():
        old.unlink()
