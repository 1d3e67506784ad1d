"""How a run folder is read and written: atomic files, JSON, and a lock that the kernel drops."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import socket
import stat
import tempfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import filelock

from ngf.options import Explained, SpecError

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

NO_LINK: int = getattr(os, "O_NOFOLLOW", 0)  # open the file itself, not where a link leads
_LARGEST = 64 * 2**20  # bytes of a text file that is read whole; the largest result is 0.1 MB
READABLE = 0o644  # of every file of a run: other users of the machine may look; see `UMASK`
UMASK = 0o022  # of a process that writes runs, so that what it opens has that mode as well
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


class DiskFull(Explained, OSError):
    """No space left to write a run."""

    kind = "disk_full"
    advice = "Free some space (delete runs that are no longer needed), then start this run again."


class Damaged(Explained, SpecError):
    """A file of a run that is not what a run writes there; the message names it."""

    kind = "damaged"
    advice = "Put the file back, or delete this run."


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
    """The text of a file, or None when it is not there.

    Raises Damaged for what is no ordinary file of a sensible size: links are not followed, and
    nothing is waited for in a pipe.
    """
    raw = read_bytes(path)
    return None if raw is None else raw.decode("utf-8", errors="replace")


def read_bytes(path: Path) -> bytes | None:
    """Like `read_text`, the bytes as they are."""
    try:
        # O_NONBLOCK: opening a pipe would wait for somebody who writes into it
        handle = os.open(path, os.O_RDONLY | NO_LINK | getattr(os, "O_NONBLOCK", 0))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        why = "is a link" if exc.errno == errno.ELOOP else f"cannot be read: {exc.strerror}"
        raise Damaged(f"{path.name} {why}.") from exc
    with os.fdopen(handle, "rb") as file:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise Damaged(f"{path.name} is no ordinary file.")
        if about.st_size > _LARGEST:
            raise Damaged(f"{path.name} has {about.st_size:,} bytes; {_LARGEST:,} are the limit.")
        return file.read()


def read_json(path: Path) -> Any:
    """A JSON file, or None when it is not there. Raises Damaged."""
    text = read_text(path)
    return None if text is None else parse_json(text, path.name)


def parse_json(text: str, name: str) -> Any:
    """The JSON in the file `name`. Raises Damaged."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as exc:
        raise Damaged(f"{name} is not JSON: {exc}.") from exc
    except (RecursionError, ValueError) as exc:  # ValueError: a number of thousands of digits
        raise Damaged(f"{name} is not JSON that a run writes: {exc}.") from exc


def read_once(path: Path) -> Any:
    """Like `read_json`, but anew only when the file was replaced. Do not change what it returns."""
    try:
        about = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _read(path, about.st_mtime_ns, about.st_ino, about.st_size)


@lru_cache(maxsize=64)  # of `assets/evidence`
def _read(path: Path, *version: int) -> Any:
    return read_json(path)


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
        self._file: tuple[int, int] | None = None

    def acquire(
        self, timeout: float = 1.0, role: str = "", about: Mapping[str, Any] | None = None
    ) -> bool:
        """Take the lock; False when another process keeps it. `role` and what `about` says of the
        holder are told to those who ask for `holder` or `about`.

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
                handle = os.open(self.path, os.O_WRONLY | os.O_TRUNC | NO_LINK)
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(
                        json.dumps(
                            {
                                "pid": os.getpid(),
                                "host": socket.gethostname(),
                                "role": role,
                                **(about or {}),
                            }
                        )
                    )
            except OSError as exc:
                if not is_full(exc):  # the lock itself holds on a full disk, too
                    raise
        self._file = _identity(self.path)
        return True

    def is_kept(self) -> bool:
        """Whether the locked file is still the one of that name: a lock on a file that was deleted
        or replaced keeps nobody out.
        """
        return self._file is not None and _identity(self.path) == self._file

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
            handle = os.open(path, os.O_RDONLY | NO_LINK | getattr(os, "O_NONBLOCK", 0))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as exc:
            raise Damaged(f"{path.name} cannot be read: {exc.strerror}.") from exc
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
    def about(path: Path) -> Mapping[str, Any]:
        """What the holder has told about itself; nothing when there is none, or none that tells."""
        if fcntl is None or not Lock.is_held(path):
            return {}
        try:
            about = read_json(path)
        except Damaged:  # it has taken the lock and not yet written who it is
            return {}
        return about if isinstance(about, dict) else {}

    @staticmethod
    def is_here(path: Path) -> bool:
        """Whether the holder is a process of this machine, as far as it tells."""
        here = socket.gethostname()
        return bool(Lock.about(path).get("host", here) == here)

    @staticmethod
    def holder(path: Path, role: str) -> int | None:
        """Process id of the holder, when it has this role, lives on this machine and can be
        told.
        """
        about = Lock.about(path)
        here = about.get("host") == socket.gethostname() and about.get("role") == role
        pid = about.get("pid")
        return pid if here and isinstance(pid, int) and pid > 1 else None


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and number of a file; None when it is not there."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino


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
