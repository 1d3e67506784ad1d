"""Reading the events of a run while they are being written, and of runs of any length."""

from __future__ import annotations

import json
import os
import random
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ngf.runs.folder import EVENTS
from ngf.runs.log import read_events, read_lines, read_outline
from ngf.runs.recorder import Recorder
from ngf.runs.store import Store
from tests.helpers.processes import counting

NUMBERS = ("loss", "update", "rate")


def steps(count: int) -> Iterator[dict[str, Any]]:
    """Two lanes that are evaluated after every seventh step, and what else happens on the way."""
    noise = random.Random(0)
    for k in range(count):
        if k % 1000 == 0:
            yield {"type": "phase", "phase": f"part {k // 1000}"}
        for lane in ("a", "b"):
            event = {"type": "step", "lane": lane, "step": k, "steps": count, "layer": "stem"}
            event |= {"loss": noise.random(), "update": noise.gauss(0, 1) if k % 3 else None}
            yield event | ({"rate": noise.random()} if k % 7 == 0 else {})


def write(path: Path, events: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    numbered = [{"seq": seq, "t": seq / 100, **event} for seq, event in enumerate(events)]
    path.write_text("".join(json.dumps(event) + "\n" for event in numbered), encoding="utf-8")
    return numbered


def bounds(events: list[dict[str, Any]], key: str, every: int) -> dict[int, tuple[float, float]]:
    """The lowest and the highest value of each stretch of so many steps."""
    stretches: dict[int, list[float]] = {}
    for event in events:
        stretches.setdefault(event["step"] // every, []).append(event[key])
    return {place: (min(values), max(values)) for place, values in stretches.items()}


def of(events: list[dict[str, Any]], lane: str, key: str) -> list[Any]:
    return [event[key] for event in events if event.get("lane") == lane and key in event]


def test_readers_see_complete_lines_only(store: Store) -> None:
    run = store.submit(counting())
    log = run.path / EVENTS
    log.write_bytes(b'{"seq":0,"type":"phase","t":0}\n{"seq":1,"ty')
    assert [event["seq"] for event in run.events()] == [0]
    with open(log, "ab") as file:
        file.write(b'pe":"phase","t":1}\n')
    assert [event["seq"] for event in run.events(1)] == [1]
    log.unlink()
    assert run.events() == []
    log.write_bytes(b'{"seq":0,"type":"other","t":0}\n' * 1)
    assert run.events() == [{"seq": 0, "type": "other", "t": 0}]


def test_the_outline_of_a_short_run_is_its_events(tmp_path: Path) -> None:
    events = write(tmp_path / EVENTS, steps(1999))
    outline = read_outline(tmp_path / EVENTS)
    assert list(outline) == events and outline.every == 1 and outline.whole


def test_the_outline_of_a_long_run_keeps_what_is_drawn(tmp_path: Path) -> None:
    """Each lane's lowest and highest value of every stretch, its first and its last, and all that
    is rare; in a bounded number of events.
    """
    path = tmp_path / EVENTS
    events = write(path, steps(20_000))
    outline = read_outline(path)
    assert outline.total == len(events) and outline.every == 32
    assert len(outline) < 20_000
    kept = outline.events
    assert [event["seq"] for event in kept] == sorted({event["seq"] for event in kept})
    assert all(event == events[event["seq"]] for event in kept)
    rare = [event for event in events if event["type"] == "phase"]
    assert [event for event in kept if event["type"] == "phase"] == rare
    for lane in ("a", "b"):
        for key in NUMBERS:
            known = [e for e in events if e.get("lane") == lane and e.get(key) is not None]
            left = [e for e in kept if e.get("lane") == lane and e.get(key) is not None]
            assert (left[0], left[-1]) == (known[0], known[-1])
            assert bounds(left, key, outline.every) == bounds(known, key, outline.every)


def test_what_is_appended_arrives_in_outline_and_pages(tmp_path: Path) -> None:
    path = tmp_path / EVENTS
    events = write(tmp_path / "all", steps(6000))
    lines = (tmp_path / "all").read_bytes().splitlines(keepends=True)
    path.write_bytes(b"")
    for start in range(0, len(lines), 1777):
        with open(path, "ab") as file:
            file.write(b"".join(lines[start : start + 1777]))
        outline = read_outline(path)
        assert outline[-1] == events[min(start + 1776, len(events) - 1)]
    whole = tmp_path / "copy"
    whole.write_bytes(path.read_bytes())
    assert read_outline(path).events == read_outline(whole).events, "however it was read"


@pytest.mark.parametrize("since", [0, 1, 999, 1000, 4321, 12_005, 12_006, 99_999])
def test_any_page_of_a_long_run_can_be_read(tmp_path: Path, since: int) -> None:
    path = tmp_path / EVENTS
    events = write(path, steps(6000))
    lines, more = read_lines(path, since, 700)
    assert [json.loads(line) for line in lines] == events[since : since + 700]
    assert more == (since + 700 < len(events))
    assert read_events(path, since) == events[since:]


def test_who_cannot_wait_gets_a_part_and_then_the_rest(tmp_path: Path) -> None:
    path = tmp_path / EVENTS
    events = write(path, steps(6000))
    first = read_outline(path, 0)
    assert 0 < first.total < len(events) and 0 < first.share < 1 and not first.whole
    lines, more = read_lines(path, len(events) - 1, 10, 0)
    assert lines == [] and more
    assert read_outline(path, 60).whole and read_outline(path, 0).total == len(events)


def test_many_readers_of_one_log_see_the_same(tmp_path: Path) -> None:
    path = tmp_path / EVENTS
    events = write(path, steps(6000))
    found: list[Any] = []

    def look(patience: float) -> None:
        while not (outline := read_outline(path, patience)).whole:
            assert outline.events == events[: outline.total] or outline.every > 1
        found.append(outline.events)

    threads = [threading.Thread(target=look, args=(place % 3 / 10,)) for place in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 9 and all(one == found[0] for one in found)


@pytest.mark.parametrize(
    "damage",
    [
        b'{"seq":3,"type":"step","t":0\n',  # cut short
        b'{"seq":9,"type":"step","t":0}\n',  # another number
        b'{"seq":3,"type":"step","t":NaN}\n',
        b'{"seq":3,"type":"st\xffep","t":0}\n',
        b"[3]\n",
        b"3\n",
        b"null\n",
        b"\n",
        b"[" * 100_000 + b"\n",
        b'{"seq":3,"type":"st\0ep","t":0}\n',
        b"x" * 200_000 + b"\n",
        b"x" * 200_000,
    ],
)
def test_a_damaged_line_ends_what_is_read(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / EVENTS
    good = [b'{"seq":%d,"type":"step","lane":"a","t":0}\n' % number for number in range(5)]
    path.write_bytes(b"".join(good[:3]) + damage + b"".join(good[3:]))
    for _ in range(2):
        assert [event["seq"] for event in read_events(path)] == [0, 1, 2]
        assert read_outline(path, 0).total == 3 and read_outline(path).whole
        assert read_lines(path, 0, 9)[0] == [line.strip() for line in good[:3]]


def test_a_line_longer_than_a_slice_is_read(tmp_path: Path) -> None:
    path = tmp_path / EVENTS
    events = write(
        path, iter([{"type": "x", "text": size * "y"} for size in (1, 300_000, 2, 99_999)])
    )
    assert read_events(path) == events and read_outline(path).events == events


def test_a_run_that_was_started_anew_under_the_same_file_number(tmp_path: Path) -> None:
    path = tmp_path / EVENTS
    write(path, steps(3000))
    assert read_outline(path).total == 6003
    other = write(tmp_path / "other", ({**event, "loss": 7} for event in steps(4000)))
    with open(path, "r+b") as file:  # keeps its number, and is longer than before
        file.write((tmp_path / "other").read_bytes())
    assert read_outline(path).total == len(other)
    assert set(of(read_outline(path).events, "a", "loss")) == {7}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without pipes in folders")
def test_what_is_no_file_has_no_events(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / EVENTS)
    (tmp_path / "folder").mkdir()
    for name in (EVENTS, "folder", "missing", "folder/below/it"):
        assert read_events(tmp_path / name) == [] and not read_outline(tmp_path / name)


def test_a_resumed_long_run_starts_in_little_memory(tmp_path: Path) -> None:
    events = write(tmp_path / EVENTS, steps(20_000))
    tracemalloc.start()
    try:
        recorder = Recorder(tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (tmp_path / EVENTS).stat().st_size / 2, "never all of it at once"
    assert recorder.next_seq == len(events) and recorder.last_step("a") == 19_999
    recorder.emit("step", lane="a", step=19_999)
    recorder.emit("step", lane="a", step=20_000)
    assert [event["step"] for event in read_events(tmp_path / EVENTS, len(events))] == [20_000]
