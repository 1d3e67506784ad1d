"""What a command has to do with the terminal that it is called from: words that are wrong, readers
that leave, a window that is closed.

A command's work must not depend on who listens. Inside `forgiving` nothing that is printed can
fail: what nobody can read any more (`| head`, a closed window, a full disk) is dropped. The end of
a command still tells whether its output arrived (`arrived`).
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TextIO


class UsageError(Exception):
    """The words of a command are wrong; `usage` says how it is called."""

    def __init__(self, message: str, usage: str):
        super().__init__(message)
        self.usage = usage


class Parser(argparse.ArgumentParser):
    """Raises `UsageError` where argparse would end the process, so that the caller can answer."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, self.format_usage())

    def add_settings(self, help: str | None = None, metavar: str = "NAME=VALUE") -> None:
        """`--set a=1 b=2`, once or more, as `settings`."""
        self.add_argument(
            "--set",
            nargs="+",
            action="extend",
            default=[],
            metavar=metavar,
            dest="settings",
            help=help,
        )


def wants_json(words: Sequence[str]) -> bool:
    """Whether `--json` is among words that may be wrong; argparse takes beginnings of it, too."""
    return any(len(word) > 2 and "--json".startswith(word) for word in words)


class Outlet(io.TextIOBase):
    """Text for `stream`, until it fails; after that, and without a stream, for nobody.

    used: whether anything was written.
    lost: why nobody gets it any more; None while somebody does.
    """

    def __init__(self, stream: TextIO | None):
        self._stream = stream or io.StringIO()
        self.used = False
        self.lost = None if stream else OSError(errno.EPIPE, "It was closed before the start")

    def write(self, text: str) -> int:
        self.used = True
        self._try(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, what: Any, *given: str) -> None:
        if self.lost is None:
            try:
                what(*given)
            except OSError as exc:
                self.lost = exc
                _to_nowhere(self._stream)

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)  # such as `buffer`


def _to_nowhere(stream: TextIO) -> None:
    """What is still in its buffer, and what others write to the same number, is dropped."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


@contextmanager
def forgiving() -> Iterator[Outlet]:
    """Standard output and standard error never fail; gives the former.

    Streams that were closed before the start are opened on nothing: else the first file of a run
    would get their numbers.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the kernel gives the lowest number that is free
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # as standard error does anyhow
    out, err = map(Outlet, before)
    sys.stdout, sys.stderr = out, err
    try:
        yield out
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before


def arrived(out: Outlet) -> bool:
    """Whether everything printed went where it should. A reader who leaves has seen enough; a full
    disk is said on standard error.
    """
    out.flush()
    if out.lost is None or out.lost.errno in (errno.EPIPE, errno.EIO):
        return True
    print(f"The output could not be written: {out.lost.strerror}.", file=sys.stderr, flush=True)
    return False


def finish(main: Callable[[], int | None]) -> int:
    """The exit code of a program that may print to readers who leave, and that others may end."""
    with forgiving() as out:
        try:
            with ended_by_signals():
                code = main() or 0
        except KeyboardInterrupt:
            code = 130
        return code if arrived(out) else code or 1


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM, and SIGHUP of a window that is closed, end a command as Ctrl-C does. Under `nohup`
    SIGHUP stays without effect.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with handling(end_signals(), _end):
        yield


def end_signals() -> list[int]:
    """The signals by which others end a command."""
    hangup = getattr(signal, "SIGHUP", None)  # not on every system
    if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN:
        return [signal.SIGTERM]
    return [signal.SIGTERM, hangup]


@contextmanager
def handling(numbers: Sequence[int], handler: Any) -> Iterator[None]:
    """`handler` for these signals, and those from before again afterwards."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _end(*_: object) -> NoReturn:
    raise KeyboardInterrupt
