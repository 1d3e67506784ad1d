"""The recorder: events without gap or duplicate, and checkpoints that are complete."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from ngf.runs.folder import CONTROL, EVENTS, RESULT, STATE
from ngf.runs.recorder import Paused, Recorder


def test_recorder_goes_on_where_the_file_ends(tmp_path: Path) -> None:
    first = Recorder(tmp_path)
    first.emit("phase", phase="training")
    for step in (0, 1, 2):
        first.emit("step", lane="ngf", step=step, loss=float("nan") if step else 0.5)
    first.emit("step", lane="sgd", step=0)
    with open(tmp_path / EVENTS, "ab") as file:
        file.write(b'{"seq":5,"type":"step","lane":"sgd","st')
    second = Recorder(tmp_path)
    assert (second.next_seq, second.last_step("ngf"), second.last_step("sgd")) == (5, 2, 0)
    assert second.last_step("adam") == -1
    for step in (1, 2, 3):
        second.emit("step", lane="ngf", step=step, loss=1.0)
    lines = (tmp_path / EVENTS).read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["seq"] for event in events] == list(range(6))
    assert events[-1]["step"] == 3 and events[2]["loss"] is None
    assert all(a["t"] <= b["t"] for a, b in pairwise(events))


def test_checkpoint_is_complete_or_the_one_before(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    assert recorder.state() is None
    recorder.save_state(lambda folder: (folder / "a").write_text("1") and None)

    def fails(folder: Path) -> None:
        (folder / "a").write_text("2")
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="middle"):
        recorder.save_state(fails)
    (tmp_path / ".state-000000002.tmp").mkdir()  # what a kill leaves
    again = Recorder(tmp_path)
    assert (again.state() / "a").read_text() == "1"
    again.save_state(lambda folder: (folder / "a").write_text("3") and None)
    assert (again.state() / "a").read_text() == "3"
    assert [path.name for path in (tmp_path / STATE).iterdir()] == ["000000002"]
    (tmp_path / CONTROL).write_text("pause")
    with pytest.raises(Paused):
        again.check(lambda folder: (folder / "a").write_text("4") and None)
    assert (again.state() / "a").read_text() == "4"
    again.finish({"ca": float("inf")})
    assert json.loads((tmp_path / RESULT).read_text()) == {"ca": None} and again.state() is None
