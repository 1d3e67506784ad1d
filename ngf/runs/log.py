"""Reading events.jsonl while another process appends to it."""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

_KEPT = 128  # logs whose parsed events stay in memory, so that a poll costs only what is new


def parse_events(raw: bytes, first: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Events of the complete lines in `raw`, whose numbers start at `first`, and how many bytes
    they take.

    It stops at the first line that is cut short or not the expected event (a power cut can leave
    one).
    """
    events: list[dict[str, Any]] = []
    used = 0
    while (end := raw.find(b"\n", used)) >= 0:
        try:
            event = json.loads(raw[used:end])
        except ValueError:
            break
        if not isinstance(event, dict) or event.get("seq") != first + len(events):
            break
        events.append(event)
        used = end + 1
    return events, used


class _Log:
    def __init__(self) -> None:
        self.file = 0
        self.offset = 0
        self.events: list[dict[str, Any]] = []


_logs: OrderedDict[Path, _Log] = OrderedDict()
_guard = threading.Lock()


def read_events(path: Path, since: int = 0) -> list[dict[str, Any]]:
    """Events number `since` and later of an events.jsonl; only complete lines, [] when there
    is no file.
    """
    with _guard:
        log = _logs.setdefault(path, _Log())
        _logs.move_to_end(path)
        while len(_logs) > _KEPT:
            _logs.popitem(last=False)
        try:
            with open(path, "rb") as file:
                _update(log, file)
        except (FileNotFoundError, NotADirectoryError):
            del _logs[path]
            return []
        return [dict(event) for event in log.events[max(0, since) :]]


def _update(log: _Log, file: Any) -> None:
    about = os.fstat(file.fileno())
    if (
        about.st_ino != log.file or about.st_size < log.offset
    ):  # another file: the run was started anew
        log.file, log.offset, log.events = about.st_ino, 0, []
    if about.st_size == log.offset:
        return
    file.seek(log.offset)
    raw = file.read()
    events, used = parse_events(raw, len(log.events))
    if (
        not events and log.events and b"\n" in raw
    ):  # not the continuation: a new file under the old number
        log.offset = 0
        file.seek(0)
        log.events, log.offset = parse_events(file.read())
        return
    log.events.extend(events)
    log.offset += used
