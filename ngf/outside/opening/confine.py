"""Shuts a process in before it looks at a stranger's file: no network, no other program, nothing
written but what is open already, and limits on memory, time and files.

Nothing of a checkpoint is meant to run at all; this is for the day on which that fails.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

from ngf.outside.opening.refusal import Limits

_NEW_USER, _NEW_NET = 0x10000000, 0x40000000  # clone flags of Linux (sched.h)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_REFUSED = (
    "ctypes.",
    "ftplib.",
    "http.",
    "os.chmod",
    "os.chown",
    "os.exec",
    "os.fork",
    "os.kill",
    "os.link",
    "os.mkdir",
    "os.posix_spawn",
    "os.putenv",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.spawn",
    "os.startfile",
    "os.symlink",
    "os.system",
    "os.truncate",
    "os.utime",
    "pty.",
    "shutil.",
    "socket.",
    "subprocess.",
    "tempfile.",
    "urllib.",
    "webbrowser.",
    "winreg.",
)


def leave_network() -> bool:
    """Go into a network without devices, where the system allows it; whether it did. Must come
    before the first thread.
    """
    if sys.platform != "linux":
        return False
    unshare = ctypes.CDLL(None, use_errno=True).unshare
    return any(unshare(flags) == 0 for flags in (_NEW_NET, _NEW_NET | _NEW_USER))


def set_limits(limits: Limits, output_bytes: int) -> tuple[str, ...]:
    """Limits on memory beyond today's, time, open files, processes and what is written. Returns
    those that this system does not have. Must come after the imports.
    """
    try:
        import resource
    except ImportError:  # Windows
        return ("memory", "processor time", "open files", "size of files")
    missing: tuple[str, ...] = ()
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: limits.cpu_seconds,
        resource.RLIMIT_FSIZE: output_bytes,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_NPROC: 0,  # not one more thread
    }
    if sys.platform == "linux":
        with open("/proc/self/statm", encoding="ascii") as file:
            pages = int(file.read().split()[0])
        wanted[resource.RLIMIT_AS] = pages * resource.getpagesize() + limits.memory_bytes
    else:  # macOS counts what is mapped, but does not say how much that is
        missing = ("memory",)
    for which, most in wanted.items():
        hard = resource.getrlimit(which)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        # The processor time ends with SIGXCPU, which says so; one second later with SIGKILL.
        later = 1 if which == resource.RLIMIT_CPU and most != hard else 0
        resource.setrlimit(which, (most, most + later))
    return missing


def shut() -> None:
    """From here on, until the process ends, Python refuses what a reader of files need not do."""
    sys.addaudithook(_judge)


def _judge(event: str, about: tuple[Any, ...]) -> None:
    if event == "open":
        flags = about[2] if isinstance(about[2], int) else 0
        if flags & _WRITES:
            raise PermissionError("nothing is written here")
    elif event.startswith(_REFUSED):
        raise PermissionError(f"{event} is refused here")
