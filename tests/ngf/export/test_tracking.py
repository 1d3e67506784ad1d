"""The events of a run for trackers of experiments."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

import ngf.__main__ as command
from ngf.config import PurifySpec
from ngf.export.tracking import TRACKERS, numbers_of, send, tracker
from ngf.options import SpecError
from ngf.runs.store import Run, Store
from tests.helpers.run_folders import RACE, append, race_events, write_run


class Kept:
    """Keeps what it is given, in the shape of wandb and trackio."""

    def __init__(self) -> None:
        self.begun: dict[str, Any] = {}
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.finished = 0

    def init(self, **about: Any) -> None:
        self.begun = about

    def log(self, numbers, step: int) -> None:
        self.logged.append((step, dict(numbers)))

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    monkeypatch.setenv("NGF_RUNS", str(tmp_path / "runs"))
    write_run(tmp_path / "runs", RACE, race_events(20), done=True)
    return Store().get(RACE.id)


def module(monkeypatch, name: str, kept: Kept) -> None:
    made = ModuleType(name)
    for part in ("init", "log", "finish"):
        setattr(made, part, getattr(kept, part))
    monkeypatch.setitem(sys.modules, name, made)


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_steps_arrive_with_their_lane_and_what_the_run_is(run, monkeypatch, tmp_path, name):
    kept = Kept()
    module(monkeypatch, name, kept)
    count = send(run, tracker(name, run, tmp_path), follow=False)
    steps = [event for event in run.events() if event["type"] == "step"]
    assert count == len(kept.logged) >= len(steps) > 20 and kept.finished == 1
    assert kept.begun["name"] == run.id
    assert PurifySpec.from_json(kept.begun["config"]) == run.spec
    last = [numbers for step, numbers in kept.logged if step == 20]
    assert {name for numbers in last for name in numbers} >= {"ngf/ca", "ngf/asr", "sgd/asr"}
    event = next(event for event in steps if event["lane"] == "ngf" and event["step"] == 20)
    assert any(numbers.get("ngf/asr") == event["asr"] for numbers in last)


def test_tensorboard_gets_scalars(run, monkeypatch, tmp_path):
    written = []

    class SummaryWriter:
        def __init__(self, log_dir: str) -> None:
            written.append(log_dir)

        def add_text(self, name: str, text: str) -> None:
            assert run.spec.parent in text

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, value, step))

        def close(self) -> None:
            written.append("closed")

    made = ModuleType("torch.utils.tensorboard")
    made.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", made)
    send(run, tracker("tensorboard", run, tmp_path), follow=False)
    assert written[0] == str(tmp_path / run.id) and written[-1] == "closed"
    assert any(item[0] == "ngf/ca" and item[2] == 20 for item in written[1:-1])


def test_one_that_goes_on_is_followed_to_its_end(run, tmp_path):
    kept, waited = Kept(), []
    (run.path / "result.json").rename(tmp_path / "result.json")

    def wait(seconds: float) -> None:
        waited.append(seconds)
        more = [event for event in race_events(22) if event["step"] > 20]
        append(run.path, more)
        (tmp_path / "result.json").rename(run.path / "result.json")

    send(run, kept, follow=True, wait=wait)
    assert len(waited) == 1 and max(step for step, _ in kept.logged) == 22 and kept.finished == 1


def test_events_without_numbers_are_left_out():
    assert numbers_of({"seq": 3, "t": 1.0, "type": "phase", "phase": "training"}) is None
    assert numbers_of({"seq": 3, "t": 1.0, "type": "resumed", "step": 4, "attempt": 2}) is None
    event = {"seq": 3, "t": 1.0, "type": "epoch", "step": 4, "steps": 9, "loss": 0.5, "asr": None}
    assert numbers_of(event) == (4, {"loss": 0.5})


def test_what_is_not_there_is_refused_with_the_way_to_get_it(run, monkeypatch, tmp_path, capsys):
    with pytest.raises(SpecError, match="Allowed: tensorboard, wandb, trackio"):
        tracker("mlflow", run, tmp_path)
    for name in TRACKERS:
        gone = "torch.utils.tensorboard" if name == "tensorboard" else name
        monkeypatch.setitem(sys.modules, gone, None)
        with pytest.raises(SpecError, match=f"pip install {name}"):
            tracker(name, run, tmp_path)
    assert command.main(["log", run.id, "--to", "wandb"]) != 0
    assert "pip install wandb" in capsys.readouterr().err


def test_the_command_logs(run, monkeypatch, capsys):
    kept = Kept()
    module(monkeypatch, "trackio", kept)
    assert command.main(["log", run.id, "--to", "trackio"]) == 0
    assert f"{len(kept.logged)} steps of {run.id} logged with trackio." in capsys.readouterr().out
