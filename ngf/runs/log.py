"""Reading events.jsonl while another process appends to it, however long it gets.

A log is read once, slice by slice, and what has been read is not kept: what stays in memory is its
outline, in which long rows of events are thinned to what a chart can show, and where every
thousandth line begins, so that any part of it can be read again. Nobody waits for more than the
slice that somebody else is reading.
"""

from __future__ import annotations

import json
import math
import os
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, overload

Event = dict[str, Any]

_SLICE = 2**15  # bytes that are read in one go: some 120 events, 1 ms
_REST = 0.5  # of the time that a slice took: a pause in which other threads go on
_WAIT = 0.02  # seconds between two looks at how far somebody else has read
_LONGEST = 2**24  # bytes of one line; what is longer was not written by a run
_PAGE = 1000  # events between two places that are remembered
_TAIL = 64  # bytes by which a file is known again
_EXACT = 2000  # events of one kind and lane that are kept as they are
_BUCKETS = 1000  # groups of neighbors that a longer row has at least half of: a chart's pixels
_FEW = 8  # events of which it is not worth while to leave out one
_LOOSE = 256  # events that a group gathers before it is thinned
_KEPT = 100_000  # events in the outlines of all logs together, 1 kB each
_LOGS = 128  # logs whose outlines stay in memory, so that a poll costs only what is new
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_NUMBERS = {float, int}
_STAMPS = {"seq", "t", "step", "steps"}  # numbers whose lowest and highest are their first and last


def parse_events(raw: bytes, first: int = 0) -> tuple[list[Event], int]:
    """Events of the complete lines in `raw`, whose numbers start at `first`, and how many bytes
    they take.

    It stops at the first line that is cut short or not the expected event (a power cut can leave
    one).
    """
    end = raw.rfind(b"\n") + 1
    try:  # as one document, which is faster, and all events share the texts of their keys
        events = _decode(b"[" + raw[: end - 1].replace(b"\n", b",") + b"]") if end else []
        if [event["seq"] for event in events] == list(range(first, first + raw.count(b"\n"))):
            return events, end
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    return _line_by_line(raw, first)


def _line_by_line(raw: bytes, first: int) -> tuple[list[Event], int]:
    events: list[Event] = []
    used = 0
    while (end := raw.find(b"\n", used)) >= 0:
        try:
            event = _decode(raw[used:end])
        except (ValueError, RecursionError):
            break
        if not isinstance(event, dict) or event.get("seq") != first + len(events):
            break
        events.append(event)
        used = end + 1
    return events, used


def _decode(raw: bytes) -> Any:
    """JSON as a run writes it, which is JSON for everybody: nothing but UTF-8, and no NaN."""
    return _DECODER.decode(raw.decode())


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON.")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def scan(path: Path) -> Iterator[tuple[list[Event], int]]:
    """All events of a log in slices, each with the number of bytes up to its end; none when there
    is no file.
    """
    first = offset = 0
    with _opened(path) as file:
        while file:
            events, used = parse_events(_read(file, offset, _SLICE), first)
            if not used:
                return
            first, offset = first + len(events), offset + used
            yield events, offset


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes] | None]:
    """The file to be read; None when there is none, or when it is a pipe or the like."""
    try:  # a pipe would wait for its writer
        handle = os.open(path, os.O_RDONLY | _AT_ONCE)
    except (FileNotFoundError, NotADirectoryError):
        yield None
        return
    if stat.S_ISREG(os.fstat(handle).st_mode):
        with open(handle, "rb") as file:
            yield file
    else:
        os.close(handle)
        yield None


def _read(file: IO[bytes], offset: int, count: int) -> bytes:
    """Bytes of a file from `offset` on: `count` of them, or as many as the line takes that begins
    there.
    """
    file.seek(offset)
    raw = file.read(count)
    while b"\n" not in raw and len(raw) < _LONGEST and (more := file.read(len(raw) or 1)):
        raw += more
    return raw


@dataclass(frozen=True)
class Outline(Sequence[Event]):
    """The events of a run as far as they were read, long rows of them thinned. Do not change them.

    events: in their order.
    total: how many events were read.
    share: of the log that was read, 1 when all of it was.
    every: neighboring steps of one lane of which only those stay that are the first, the last, the
        lowest or the highest in one of their numbers; 1 where all stay.
    file: the number of the file; another one is another attempt at the run.
    """

    events: list[Event]
    total: int = 0
    share: float = 1.0
    every: int = 1
    file: int = 0

    @property
    def whole(self) -> bool:
        return self.share >= 1

    @overload
    def __getitem__(self, place: int) -> Event: ...
    @overload
    def __getitem__(self, place: slice) -> list[Event]: ...
    def __getitem__(self, place: int | slice) -> Event | list[Event]:
        return self.events[place]

    def __len__(self) -> int:
        return len(self.events)


class _Row:
    """The events of one kind and lane: all of them, or those that a chart needs of each group."""

    def __init__(self) -> None:
        self.every = 1  # events in a group
        self.kept: list[list[Event]] = []  # by group
        self.size = self.count = 0

    def add(self, event: Event) -> None:
        if self.count % self.every == 0:
            self._settle()
            self.kept.append([])
        group = self.kept[-1]
        group.append(event)
        self.size, self.count = self.size + 1, self.count + 1
        if len(group) >= _LOOSE:
            self._settle()

    def _settle(self) -> None:
        """Thin the last group, and join groups two by two when there are too many events."""
        if self.every > 1 and self.kept:
            before = len(self.kept[-1])
            self.kept[-1] = _extremes(self.kept[-1])
            self.size += len(self.kept[-1]) - before
        while (
            self.size >= _EXACT
            and len(self.kept) >= _BUCKETS
            and self.count % (2 * self.every) == 0  # so that no group is half full
        ):
            pairs = zip(self.kept[::2], self.kept[1::2], strict=True)
            self.kept = [_extremes([*one, *other]) for one, other in pairs]
            self.every *= 2
            self.size = sum(map(len, self.kept))


def _extremes(events: list[Event]) -> list[Event]:
    """Of a few neighbors, those that have the first, last, lowest or highest value of one of their
    numbers: what they leave out changes no line that is drawn through them within a pixel.
    """
    if len(events) <= _FEW:
        return events
    keep = {0, len(events) - 1}
    known: list[Any]
    for key in set().union(*events) - _STAMPS:
        known = values = [event.get(key) for event in events]
        if not set(map(type, values)) <= _NUMBERS:
            known = [value for value in values if type(value) in _NUMBERS]
            if not known:
                continue
            keep.add(values.index(known[0]))
            keep.add(len(values) - 1 - values[::-1].index(known[-1]))
        keep.add(values.index(min(known)))
        keep.add(values.index(max(known)))
    return [events[place] for place in sorted(keep)]


class _Log:
    """What was read of one file. `lock` is held for a slice at a time, `reader` by who reads on."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.reader = threading.Lock()
        self.reading = threading.Thread()  # reads on in the background, when it is alive
        self.forget()

    def forget(self) -> None:
        self.file = self.offset = self.size = self.changed = 0  # the file, and how far it is read
        self.count = self.kept = 0  # events that were read, and those in the rows
        self.tail = b""  # the last bytes before `offset`
        self.pages: list[int] = []  # where each `_PAGE`-th event begins
        self.rows: dict[tuple[str, str], _Row] = {}
        self.over = True  # whether nothing more can be read of the file as it is
        self.made: Outline | None = None

    def read_on(self, path: Path, seconds: float, until: float = math.inf) -> None:
        """Read what is new, up to event number `until` at least. Who does not wait for the end of
        it waits for so many seconds at most, while a thread of its own reads on.
        """
        if seconds == math.inf:
            with self.reader:
                self._read(path, until)
        elif not self._read(path, until, slices=1) and seconds > 0:
            with self.lock:
                if not self.reading.is_alive():
                    self.reading = threading.Thread(
                        target=self._read_whole, args=(path,), daemon=True
                    )
                    self.reading.start()
                thread = self.reading
            end = time.monotonic() + seconds
            while thread.is_alive() and self.count < until and time.monotonic() < end:
                thread.join(_WAIT)

    def _read_whole(self, path: Path) -> None:
        with self.reader:
            self._read(path)

    def _read(self, path: Path, until: float = math.inf, slices: float = math.inf) -> bool:
        """Read some slices, or all of them; whether that was enough."""
        with _opened(path) as file:
            while True:
                began = time.monotonic()
                with nullcontext() if slices == 1 else _turn, self.lock:
                    if file is None:
                        self.forget()
                    else:
                        self._read_slice(file)
                    if self.over or self.count >= until:
                        return True
                slices -= 1
                if slices <= 0:
                    return False
                time.sleep(_REST * (time.monotonic() - began))

    def _read_slice(self, file: IO[bytes]) -> None:
        about = os.fstat(file.fileno())
        if about.st_ino != self.file or about.st_size < self.offset:  # the run was started anew
            self.forget()
            self.file = about.st_ino
        elif self.over and (about.st_size, about.st_mtime_ns) == (self.size, self.changed):
            return
        self.size, self.changed = about.st_size, about.st_mtime_ns
        file.seek(self.offset - len(self.tail))
        if file.read(len(self.tail)) != self.tail:  # a new file under the old number
            self.forget()
            self.file, self.over = about.st_ino, False
            return
        raw = _read(file, self.offset, _SLICE)
        events, used = parse_events(raw, self.count)
        self._take(events, raw)
        self.offset += used
        self.tail = (self.tail + raw[:used])[-_TAIL:]
        self.over = not used or self.offset >= self.size

    def _take(self, events: list[Event], raw: bytes) -> None:
        for number, event in enumerate(events, start=self.count):
            if number % _PAGE == 0:
                self.pages.append(self.offset + _skip(raw, self.count, number)[1])
            key = str(event.get("type")), str(event.get("lane") or "")
            row = self.rows.get(key)
            if row is None:
                row = self.rows[key] = _Row()
            row.add(event)
        self.count += len(events)
        self.kept = sum(row.size for row in self.rows.values())

    def outline(self) -> Outline:
        with self.lock:
            share = 1.0 if self.over else min(0.99, self.offset / max(1, self.size))
            made = self.made
            if made is None or (made.total, made.share) != (self.count, share):
                rows = self.rows.values()
                kept = [event for row in rows for group in row.kept for event in group]
                kept.sort(key=lambda event: event["seq"])
                every = max((row.every for row in rows), default=1)
                made = self.made = Outline(kept, self.count, share, every, self.file)
            return made

    def place(self, number: int) -> tuple[int, int]:
        """The last place up to event `number` that is remembered: its number and its offset."""
        with self.lock:
            if not self.pages:
                return 0, 0
            page = min(number // _PAGE, len(self.pages) - 1)
            return page * _PAGE, self.pages[page]


_logs: OrderedDict[Path, _Log] = OrderedDict()
_turn = threading.Lock()  # of whoever reads many slices: two at a time would be in the way of all
_guard = threading.Lock()  # of the dictionary alone; nothing is read while it is held


def _log(path: Path) -> _Log:
    with _guard:
        log = _logs.setdefault(path, _Log())
        _logs.move_to_end(path)
        room = _KEPT
        for place, (other, about) in enumerate(reversed(list(_logs.items()))):
            room -= about.kept
            if place and (room < 0 or place >= _LOGS):
                del _logs[other]
        return log


def read_outline(path: Path, seconds: float = math.inf) -> Outline:
    """The outline of an events.jsonl: of all of it, or of what can be read in so many seconds
    beside what was read before.
    """
    log = _log(path)
    log.read_on(path, seconds)
    return log.outline()


def read_events(path: Path, since: int = 0) -> list[Event]:
    """Events number `since` and later of an events.jsonl; only complete lines, [] when there is no
    file.
    """
    events: list[Event] = []
    since = max(0, since)
    for lines in _lines(path, since, math.inf, math.inf):
        events += parse_events(lines, since + len(events))[0]
    return events


def read_lines(
    path: Path, since: int, limit: int, seconds: float = math.inf
) -> tuple[list[bytes], bool]:
    """At most `limit` events from number `since` on, each as the JSON that is in the file, which
    costs next to nothing; and whether there are more. [] and True when so many seconds are not
    enough to get there.
    """
    lines = b"".join(_lines(path, since, limit, seconds)).split(b"\n")[:-1]
    log = _log(path)
    return lines, since + len(lines) < log.count or not log.over


def _lines(path: Path, since: int, limit: float, seconds: float) -> Iterator[bytes]:
    """Complete lines of a log, some at a time."""
    log = _log(path)
    log.read_on(path, seconds, since + limit)
    last = int(min(since + limit, log.count))
    first, offset = log.place(since)
    with _opened(path) as file:
        while file and first < last:
            raw = _read(file, offset, _SLICE)
            first, start = _skip(raw, first, since)
            end = start
            if first >= since:
                first, end = _skip(raw, first, last, start)
                yield raw[start:end]
            if not end:  # another file by now
                return
            offset += end


def _skip(raw: bytes, number: int, wanted: int, place: int = 0) -> tuple[int, int]:
    """How far the lines before number `wanted` go, when line `number` begins at `place`: the number
    of the next line and its place.
    """
    while number < wanted and (end := raw.find(b"\n", place)) >= 0:
        number, place = number + 1, end + 1
    return number, place
