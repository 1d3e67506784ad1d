"""What can happen to a file of a run folder, by accident or on purpose."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from ngf.runs.files import _LARGEST
from ngf.runs.folder import (
    ARRAYS,
    ATTEMPTS,
    CARD,
    CONTROL,
    CRASHES,
    ERROR,
    EVENTS,
    LOCK,
    LOG,
    PREVIEW,
    REQUEST,
    RESERVE,
    RESULT,
    SPEC,
    STATE,
    THREADS,
    TRIGGER,
    WAYPOINTS,
    WEIGHTS,
    purified_weights,
)

FILES = (
    *(SPEC, REQUEST, CONTROL, LOCK, ATTEMPTS, CRASHES, THREADS, RESERVE, EVENTS, LOG, STATE),
    *(WAYPOINTS, RESULT, ERROR, WEIGHTS, TRIGGER, PREVIEW, ARRAYS, CARD, purified_weights("ngf")),
)


def _huge(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(_LARGEST + 1)  # a hole: it takes no space


def _half(path: Path) -> None:
    whole = path.read_bytes() if path.is_file() else b'{"seq": 0, "ty'
    path.write_bytes(whole[: len(whole) // 2])


def _socket(path: Path) -> None:
    path.unlink(missing_ok=True)
    here = os.getcwd()
    os.chdir(path.parent)  # the name of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def _to(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target.format(name=path.name, outside=path.parents[2]))


# kind -> what does it to a path, after whatever was there is gone (but for the first one)
DAMAGE: Mapping[str, Callable[[Path], object]] = {
    "cut short": _half,
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(bytes(range(256)) * 8),
    "not utf-8": lambda path: path.write_bytes(b'{"name": "\xff\xfe"}\n'),
    "null": lambda path: path.write_text("null"),
    "a list": lambda path: path.write_text("[1, 2]"),
    "a number": lambda path: path.write_text("3"),
    "a negative number": lambda path: path.write_text("-1"),
    "a number of 5,000 digits": lambda path: path.write_text("9" * 5000),
    "not a number": lambda path: path.write_text("NaN"),
    "a text": lambda path: path.write_text('"text"'),
    "an empty object": lambda path: path.write_text("{}"),
    "odd values": lambda path: path.write_text(
        '{"seq": 0, "type": [], "t": "x", "kind": 3, "lanes": 7, "kills": "x", "ca": "0.5"}\n'
    ),
    "deep": lambda path: path.write_text("[" * 100_000),
    "huge": _huge,
    "a folder": lambda path: path.mkdir(),
    "a pipe": lambda path: os.mkfifo(path),
    "a socket": _socket,
    "a link to nowhere": _to("nowhere"),
    "a link to itself": _to("{name}"),
    "a link to a file outside": _to("{outside}/outside.txt"),
    "a link to a folder outside": _to("{outside}/outside"),
}


def damage(path: Path, kind: str) -> None:
    """Do it to the file `path`."""
    if kind != "cut short":
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
    elif path.is_dir():
        shutil.rmtree(path)
    DAMAGE[kind](path)
