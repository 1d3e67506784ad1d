"""How a run folder is read and written: atomic files, JSON, and a lock that the kernel drops."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import filelock

from ngf.options import Explained

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

READABLE = 0o644  # of every file of a run: other users of the machine may look; see `UMASK`
UMASK = 0o022  # of a process that writes runs, so that what it opens has that mode as well
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


class DiskFull(Explained, OSError):
    """No space left to write a run."""

    kind = "disk_full"
    advice = "Free some space (delete runs that are no longer needed), then start this run again."


def is_full(exc: BaseException) -> bool:
    """True when `exc` says that the disk or the quota is used up (writers in other languages
    only say so).
    """
    return isinstance(exc, OSError) and exc.errno in _FULL or "No space left on device" in str(exc)


def plain(value: Any) -> Any:
    """`value` as plain JSON: arrays become lists, numbers that are not finite become null."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # an array, a tensor, or one number of them
        return plain(value.tolist())
    raise TypeError(f"{type(value).__name__} cannot be written as JSON: {value!r}")


def to_json(value: Any) -> str:
    return json.dumps(plain(value), separators=(",", ":"), ensure_ascii=True, allow_nan=False)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write, which takes the place of `path` at the end: readers see it either not at
    all, or old, or new, never in part.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, READABLE)  # mkstemp makes it private
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_atomic(path: Path, text: str) -> None:
    """Write a text file by `replacing`. Raises DiskFull."""
    try:
        with replacing(path) as file:
            file.write(text.encode())
    except BaseException as exc:
        if is_full(exc):
            raise DiskFull(errno.ENOSPC, f"The disk is full: {path.name} was not written") from exc
        raise


def read_text(path: Path) -> str | None:
    """The text of a file, or None when it is not there."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_json(path: Path) -> Any:
    """A JSON file, or None when it is not there."""
    text = read_text(path)
    return None if text is None else json.loads(text)


def read_once(path: Path, make: Callable[[Any], Any] | None = None) -> Any:
    """Like `read_json`, and what `make` makes of it, but anew only when the file was replaced. Do
    not change what it returns.
    """
    try:
        about = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None if make is None else make(None)
    return _made(path, make, about.st_mtime_ns, about.st_ino, about.st_size)


@lru_cache(maxsize=8192)
def _made(path: Path, make: Callable[[Any], Any] | None, *version: int) -> Any:
    found = read_json(path)
    return found if make is None else make(found)


def fsync_tree(folder: Path) -> None:
    """Have every file below `folder` on the disk before its name says that it is complete."""
    for base, _, names in os.walk(folder):
        for name in names:
            handle = os.open(
                os.path.join(base, name), os.O_RDONLY if os.name == "posix" else os.O_RDWR
            )
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


class Lock:
    """A lock on a file that ends with the process that holds it, however that process ends."""

    def __init__(self, path: Path):
        self.path = path
        self._lock = filelock.FileLock(path, thread_local=False)

    def acquire(self, timeout: float = 1.0, role: str = "") -> bool:
        """Take the lock; False when another process keeps it. `role` is told to those who ask for
        `holder`.

        It is tried for a moment because a reader that looks (`is_held`) is in the way for
        microseconds.
        """
        try:
            self._lock.acquire(timeout=timeout, poll_interval=0.005)
        except filelock.Timeout:
            return False
        if (
            fcntl is not None
        ):  # who holds it, for `holder`; on other systems a locked file is not readable
            try:
                with open(self.path, "w", encoding="utf-8") as file:
                    file.write(
                        json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "role": role})
                    )
            except OSError as exc:
                if not is_full(exc):  # the lock itself holds on a full disk, too
                    raise
        return True

    def release(self) -> None:
        self._lock.release()

    @staticmethod
    def is_held(path: Path) -> bool:
        """Whether a living process holds the lock. Readers do not disturb each other, nor the
        holder.
        """
        if fcntl is None:
            return _is_held_elsewhere(path)
        try:
            handle = os.open(path, os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError):
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as exc:
            if exc.errno in (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK):
                return True
            raise
        finally:
            os.close(handle)  # drops the shared lock as well
        return False

    @staticmethod
    def holder(path: Path, role: str) -> int | None:
        """Process id of the holder, when it has this role, lives on this machine and can be
        told.
        """
        if fcntl is None or not Lock.is_held(path):
            return None
        try:
            about = read_json(path) or {}
        except json.JSONDecodeError:  # it has taken the lock and not yet written who it is
            return None
        here = about.get("host") == socket.gethostname() and about.get("role") == role
        return about["pid"] if here else None


def _is_held_elsewhere(path: Path) -> bool:
    if not path.exists():
        return False
    probe = filelock.FileLock(path, thread_local=False)
    try:
        probe.acquire(timeout=0)
    except filelock.Timeout:
        return True
    probe.release()
    return False
