"""A pipe whose other end is held by the process that started everything: it closes with it.

The kernel closes the end of a pipe with the last process that holds it, however that process ends:
kill -9, a closed terminal, a lost session. Whoever holds the reading end therefore learns of it,
through any number of processes in between, and without the danger that a process number has been
given to somebody else meanwhile.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable

_NAME = "NGF_LIFELINE"  # variable that tells a process the number of its reading end
# What a child needs to know whose standard input is the reading end. It reaches those that the
# child starts by a program which passes on nothing else, such as `torchrun`.
ON_STDIN = {_NAME: "0"}


class Lifeline:
    """Both ends, held by the process whose end the others are to notice."""

    def __init__(self) -> None:
        # Python passes neither on unless asked to, so that nobody else keeps the writing end open.
        self._reading, self._writing = os.pipe()

    @property
    def environment(self) -> dict[str, str]:
        """What a child needs to know, besides having `passed`."""
        return {_NAME: str(self._reading)}

    @property
    def passed(self) -> tuple[int, ...]:
        """For `pass_fds` of `subprocess.Popen`; nothing where a system passes none."""
        return (self._reading,) if os.name == "posix" else ()


def passed_on() -> tuple[int, ...]:
    """The reading end that this process was given, for `pass_fds` of its own children."""
    text = os.environ.get(_NAME, "")
    if not text.isdigit():
        return ()
    try:
        os.fstat(int(text))
    except OSError:  # the variable was inherited, the pipe was not
        return ()
    return (int(text),)


def when_cut(act: Callable[[], None]) -> bool:
    """Have `act` called, in a thread, when the process that holds the lifeline has ended. False
    when this process was given none.
    """
    ends = passed_on()
    if not ends:
        return False

    def watch() -> None:
        select.select(ends, (), ())  # nothing is ever written: readable means closed
        act()

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
    return True
