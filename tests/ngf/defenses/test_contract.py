"""What every defense promises, present and future; the runner drives them as it does in a run."""

import copy
import json
import math
from dataclasses import asdict, replace

import pytest
import torch

from ngf import models
from ngf.attacks.badnets import BadNets
from ngf.catalogue import catalogue, names
from ngf.config import Choice, PurifySpec
from ngf.data import load as load_data
from ngf.defenses.contract import Step
from ngf.defenses.race import race
from ngf.evaluate import test_set as images_to_measure
from ngf.options import SpecError
from ngf.runs.folder import CONTROL, EVENTS
from ngf.runs.recorder import Paused, Recorder
from tests.helpers.purifications import finish, short, short_options

DEFENSES = names("defenses")


def finite(value) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


@pytest.mark.parametrize("name", DEFENSES)
def test_every_defense_keeps_its_promises(name, problem):
    kept = copy.deepcopy(problem.model.state_dict())
    purification = short(name).purify(problem)
    assert purification.step == -1
    planned, events, done = purification.steps, [], 0
    for event in purification:
        events.append(event)
        assert not purification.model.training
        assert purification.steps <= planned, "fewer, never more"
        planned = purification.steps
        if isinstance(event, Step):
            assert event.step == purification.step == done
            assert event.steps >= purification.steps
            done += 1
        assert all(finite(value) for value in asdict(event).values())
        assert json.loads(json.dumps(asdict(event))) == asdict(event)
        with pytest.raises(AttributeError):
            event.kind = "other"
    assert isinstance(events[0], Step)
    last = [event for event in events if isinstance(event, Step)][-1]
    assert last.step == last.steps == purification.steps > 0
    assert events == finish(short(name).purify(problem)), "deterministic for a seed"
    summary = json.loads(json.dumps(purification.summary()))
    assert summary["steps"] == last.step
    assert summary.get("did") or summary.get("layer")
    assert all(
        torch.equal(problem.model.state_dict()[key], value) for key, value in kept.items()
    ), "a copy is purified"
    now = purification.model.state_dict()
    assert now.keys() >= kept.keys()
    assert now.keys() > kept.keys() or any(
        not torch.equal(now[key], value) for key, value in kept.items()
    ), "tensors are changed, or parts added"
    assert purification.model(torch.rand(2, 3, 32, 32)).isfinite().all()


@pytest.mark.parametrize("name", DEFENSES)
def test_a_purification_resumes_to_the_last_bit_after_any_event(name, problem, tmp_path):
    whole = short(name).purify(problem)
    steps = [event for event in whole if isinstance(event, Step)]
    part = short(name).purify(problem)
    for event in part:
        torch.save(part.state_dict(), tmp_path / "state.pt")
        resumed = short(name).purify(problem)
        resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        left = [event for event in resumed if isinstance(event, Step)]
        # one that was still choosing begins again, and the runner leaves out what is written
        assert [step for step in left if step.step > part.step] == steps[part.step + 1 :], event
        for key, value in whole.model.state_dict().items():
            assert torch.equal(value, resumed.model.state_dict()[key]), (event, key)
        assert resumed.summary() == whole.summary()


class Setting:
    """Races on a model that is not trained: a defense, and a quick one that takes turns with it."""

    def __init__(self, problem) -> None:
        self.model = problem.model
        self.splits = load_data("signs", num_clean=60)
        self.images = images_to_measure(self.splits, BadNets(), 40)

    def spec(self, name: str) -> PurifySpec:
        beside = "adam" if name == "sgd" else "sgd"
        lanes = (
            Choice(name, short_options(name)),
            Choice(beside, short_options(beside, lr=0.01, layer="linear")),
        )
        return PurifySpec(parent="none", lanes=lanes, num_clean=60)

    def race(self, spec: PurifySpec, recorder: Recorder) -> list:
        return race(
            spec,
            lambda: copy.deepcopy(self.model),
            self.splits,
            self.images,
            recorder,
            torch.device("cpu"),
        )


@pytest.fixture(scope="module")
def setting(problem) -> Setting:
    return Setting(problem)


def told(folder, spec: PurifySpec) -> dict[str, list[dict]]:
    """The events of each lane, without clocks and without what is measured when there is time."""
    events = [json.loads(line) for line in (folder / EVENTS).read_text().splitlines()]
    timed = ("seq", "t", "ca", "asr", "ra")
    return {
        lane: [
            {key: value for key, value in event.items() if key not in timed}
            for event in events
            if event.get("lane") == lane
        ]
        for lane in spec.lane_names()
    }


class Impatient(Recorder):
    """Is asked to pause after some events: what chooses tells many, and begins again."""

    def __init__(self, path, patience: int) -> None:
        super().__init__(path)
        self.left = patience

    def emit(self, type, **values):
        super().emit(type, **values)
        self.left -= 1
        if self.left == 0:
            (self.path / CONTROL).write_text("pause")


@pytest.mark.parametrize("name", DEFENSES)
def test_the_runner_drives_every_defense_and_goes_on_after_pauses(
    name, setting, tmp_path, monkeypatch
):
    monkeypatch.setattr("ngf.runs.recorder.CHECK_SECONDS", 0.0)
    spec, whole, parts = setting.spec(name), tmp_path / "whole", tmp_path / "parts"
    whole.mkdir(), parts.mkdir()
    lanes = setting.race(spec, Recorder(whole))
    events = [json.loads(line) for line in (whole / EVENTS).read_text().splitlines()]
    for lane in lanes:
        steps = [e for e in events if e["type"] == "step" and e["lane"] == lane.name]
        assert steps[0]["step"] == 0 and {"ca", "asr", "ra"} <= steps[0].keys()
        assert steps[-1]["step"] == steps[-1]["steps"] and {"ca", "asr", "ra"} <= steps[-1].keys()
        json.dumps(lane.summary())

    for _pauses in range(10):
        try:
            resumed = setting.race(spec, Impatient(parts, 3 * 2**_pauses))
            break
        except Paused:
            (parts / CONTROL).unlink()
    assert _pauses > 0
    assert told(parts, spec) == told(whole, spec)
    for lane, other in zip(lanes, resumed, strict=True):
        for key, value in lane.model.state_dict().items():
            assert torch.equal(value, other.model.state_dict()[key]), (lane.name, key)


@pytest.mark.parametrize("name", DEFENSES)
def test_the_catalogue_tells_what_a_form_needs(name):
    about = catalogue()["defenses"][name]
    assert about["title"] and about["summary"].endswith(".")
    assert all(item["help"] for item in about["fields"])


@pytest.mark.parametrize("network", ["preact_resnet_tiny", "vgg_tiny", "vit_tiny"])
@pytest.mark.parametrize("name", DEFENSES)
def test_every_defense_suits_a_network_or_says_before_the_start_why_not(name, network, problem):
    """A residual one, a plain one, and a transformer, which has no BatchNorm."""
    torch.manual_seed(0)
    other = replace(problem, model=models.build(network, 12).eval())
    try:
        purification = short(name, steps=1).purify(other)
    except SpecError as refused:
        assert len(str(refused)) > 40
        return
    events = finish(purification)
    assert isinstance(events[-1], Step) and events[-1].step == purification.steps
    assert purification.model(torch.rand(2, 3, 32, 32)).isfinite().all()
