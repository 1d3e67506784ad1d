"""Imports in a process of its own: what a visitor brings is never opened in this one.

Files lie in a folder that only this account can read, and are gone when the import has ended.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from ngf.places import cache_dir, child_environment

SECONDS = 600.0  # that an import may take
_LONGEST_NAME = 200  # bytes that are kept of a name; its end tells what the file is
_TOO_LONG = (
    "The import took more than ten minutes and was ended. Give a smaller model or fewer images, or "
    "use `ngf import` in a terminal, which has no limit."
)
_ENDED = (
    "The import ended without an answer (exit code {}). Most often the machine was out of memory: "
    "give fewer or smaller images, or a smaller model."
)


class Given(NamedTuple):
    """A file of a visitor: its name as they call it, and its bytes."""

    name: str
    data: bytes


def import_model(
    weights: Given,
    images: Sequence[Given],
    words: Sequence[str],
    owner: str,
    say: Callable[[str], None],
    poisoned: Given | None = None,
) -> dict[str, Any]:
    """What `ngf import` answers, see `ngf.imports.command`: a document with `status`, or with
    `error`.

    words: further ones of the command. say: called with each line on how far it is. poisoned: an
    npz of images with the trigger.
    """
    place = cache_dir() / "brought"
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=place) as folder:
        root = Path(folder)
        file = _put(root / "model", weights)
        given = [str(_put(root / "images", one)) for one in images]
        # a few images lie in one folder, so that a CSV file among them can name them
        where = given if len(given) == 1 else [str(root / "images")]
        command = [sys.executable, "-m", "ngf", "import", str(file), "--images", *where]
        if poisoned is not None:
            command += ["--poisoned", str(_put(root / "poisoned", poisoned))]
        command += [*words, "--owner", owner, "--json"]
        return _run(command, say)


def _put(folder: Path, given: Given) -> Path:
    """The file, under the last part of its name; two of one name are told apart by a number."""
    folder.mkdir(exist_ok=True)
    last = Path(given.name.replace("\\", "/")).name
    clean = "".join(c if c.isprintable() else "_" for c in last)
    name = clean.encode()[-_LONGEST_NAME:].decode(errors="ignore").lstrip(".") or "file"
    path, count = folder / name, 1
    while path.exists():
        count += 1
        path = folder / f"{count}-{name}"
    path.write_bytes(given.data)
    return path


def _run(command: Sequence[str], say: Callable[[str], None]) -> dict[str, Any]:
    with subprocess.Popen(
        command,
        env=child_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as child:
        late = threading.Event()

        def end() -> None:
            late.set()
            child.kill()

        timer = threading.Timer(SECONDS, end)
        timer.start()
        answer: list[str] = []
        reader = threading.Thread(target=_read, args=(child.stdout, answer), daemon=True)
        reader.start()
        try:
            for line in child.stderr or ():
                say(line.strip())
        except BaseException:  # the visitor has left
            child.kill()
            raise
        finally:
            child.wait()
            reader.join()
            timer.cancel()
    try:
        found: dict[str, Any] = json.loads("".join(answer))
    except ValueError:
        said = _TOO_LONG if late.is_set() else _ENDED.format(child.returncode)
        return {"error": {"kind": "crash", "message": said}}
    return found


def _read(stream: IO[str] | None, into: list[str]) -> None:
    into.append(stream.read() if stream is not None else "")
