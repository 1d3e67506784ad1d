"""The facts of every run folder, read again only where the folder has changed.

The folders stay the truth. What is kept here follows from them: a table in memory, and for runs
that have ended also in the file `.index.sqlite` of the store, so that a new process need not open
ten thousand folders. The file can be deleted at any time.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from ngf.config import spec_from_json
from ngf.options import SpecError
from ngf.runs.facts import Facts, read_facts
from ngf.runs.files import Damaged, to_json

NAME = ".index.sqlite"
VERSION = 2  # raise it when `Facts` or its checks change: then everything is read again
# A folder that changed this recently may change again within the same tick of the clock that files
# are stamped with, which is a second on some file systems.
_FRESH = 1.0
_SAVE_FROM = 200  # runs read anew before the file is written: fewer cost less than writing
_Version = tuple[int, int]  # number and time of change of a folder
_log = logging.getLogger(__name__)


class Index:
    """Facts by name of the folder, below one root. Safe to use from several threads.

    kept: the folder that the file lies in, None to keep nothing.
    """

    def __init__(self, kept: Path | None = None):
        self._kept = kept
        self._known: dict[str, tuple[_Version, Facts]] = {}
        self._stored: dict[str, tuple[_Version, str]] | None = None
        self._unsaved: dict[str, tuple[_Version, Facts]] = {}
        self._guard = threading.Lock()

    def facts(self, path: Path) -> Facts:
        """What the folder `path` says now. Raises SpecError: Damaged, or because it is no run."""
        try:
            about = os.stat(path, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            raise SpecError(f"There is no run {path.name}.") from None
        except OSError as exc:
            raise Damaged(f"{path.name} cannot be read: {exc.strerror}.") from exc
        return self.facts_at(path, about)

    def facts_at(self, path: Path, about: os.stat_result) -> Facts:
        """Like `facts`, for a folder that was just looked at."""
        # not the time of its content, which a copy keeps
        version = about.st_ino, about.st_ctime_ns
        known = self._known.get(path.name)
        if known is not None and known[0] == version:
            return known[1]
        # a damaged folder raises here, each time anew: somebody may mend it
        facts = self._read(path, version)
        if abs(time.time() - about.st_ctime) > _FRESH:
            self._known[path.name] = version, facts
            stored = self._load().get(path.name)
            if facts.ended and (stored is None or stored[0] != version):
                self._unsaved[path.name] = version, facts
        return facts

    def _read(self, path: Path, version: _Version) -> Facts:
        stored = self._load().get(path.name)
        if stored is not None and stored[0] == version:
            try:
                return _from_json(stored[1])
            except (SpecError, ValueError, TypeError, KeyError):
                _log.debug("%s in %s is read anew", path.name, NAME)
        try:
            return read_facts(path)
        except (FileNotFoundError, NotADirectoryError):  # deleted this moment
            raise SpecError(f"There is no run {path.name}.") from None
        except OSError as exc:
            raise Damaged(f"{path.name} cannot be read: {exc.strerror}.") from exc

    # ---- the file

    def _load(self) -> dict[str, tuple[_Version, str]]:
        """What the file holds, read once."""
        with self._guard:
            if self._stored is None:
                self._stored = {} if self._kept is None else _stored(self._kept / NAME)
            return self._stored

    def save(self, names: Iterable[str]) -> None:
        """Write what was read since the last time, and forget runs that are not among `names`.

        The file is a convenience: where it cannot be written, the folders are read next time.
        """
        if self._kept is None or len(self._unsaved) < _SAVE_FROM:
            return
        with self._guard:
            rows = [
                (name, *version, to_json(_plain(facts)))
                for name, (version, facts) in self._unsaved.items()
            ]
            self._unsaved = {}
            there = set(names)
            try:
                with closing(_open(self._kept / NAME)) as file, file:
                    gone = [
                        (name,)
                        for (name,) in file.execute("SELECT name FROM runs")
                        if name not in there
                    ]
                    file.executemany("DELETE FROM runs WHERE name = ?", gone)
                    file.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?)", rows)
            except (sqlite3.Error, OSError) as exc:
                _log.info("%s was not written: %s", NAME, exc)


def _open(path: Path) -> sqlite3.Connection:
    """The file, empty where it is of another version or damaged."""
    for _attempt in range(2):
        file = sqlite3.connect(path, timeout=1.0)
        try:
            (found,) = file.execute("PRAGMA user_version").fetchone()
            if found != VERSION:
                file.execute("DROP TABLE IF EXISTS runs")
                file.execute(f"PRAGMA user_version = {VERSION}")
            file.execute(
                "CREATE TABLE IF NOT EXISTS runs"
                " (name TEXT PRIMARY KEY, inode INTEGER, changed INTEGER, facts TEXT)"
            )
            file.commit()
            return file
        except sqlite3.DatabaseError as exc:
            file.close()
            if isinstance(exc, sqlite3.OperationalError):  # locked, read-only, full
                raise
            path.unlink()  # not a database: it is made again
    raise sqlite3.DatabaseError(f"{path.name} cannot be made")


def _stored(path: Path) -> dict[str, tuple[_Version, str]]:
    if path.is_symlink() or not path.is_file():
        return {}
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=1.0)) as file:
            (found,) = file.execute("PRAGMA user_version").fetchone()
            if found != VERSION:
                return {}
            return {
                name: ((inode, changed), facts)
                for name, inode, changed, facts in file.execute("SELECT * FROM runs")
            }
    except sqlite3.Error:  # locked or damaged: the folders have it all
        return {}


def _plain(facts: Facts) -> dict[str, Any]:
    return {**vars(facts), "spec": facts.spec.to_json()}


def _from_json(text: str) -> Facts:
    found = json.loads(text)
    return Facts(**{**found, "spec": spec_from_json(found["spec"]), "rows": tuple(found["rows"])})
