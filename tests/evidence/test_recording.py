"""The race of the first page is complete."""

import json

import pytest

from evidence import recording
from ngf.config import PurifySpec, TrainSpec, spec_from_json
from ngf.places import ASSETS
from ngf.runs.folder import SPEC
from ngf.runs.store import Run, Store


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path)


def test_the_recording_is_a_complete_race(store):
    path = ASSETS / "recordings" / "race"
    spec = spec_from_json(json.loads((path / SPEC).read_text(encoding="utf-8")))
    assert isinstance(spec, PurifySpec)
    assert isinstance(store.get(spec.parent).spec, TrainSpec)
    run = Run(store, path, "zoo")
    for lane in spec.lane_names():
        steps = [
            event["step"]
            for event in run.events()
            if event["type"] == "step" and event["lane"] == lane
        ]
        assert steps == list(range(101))
        assert lane in run.result["lanes"]


def test_it_is_of_the_model_and_the_lanes_that_the_step_names():
    path = ASSETS / "recordings" / "race"
    spec = spec_from_json(json.loads((path / SPEC).read_text(encoding="utf-8")))
    assert spec == PurifySpec(parent=recording.PARENT.id, lanes=recording.LANES)
    assert recording.missing() == []


def test_without_its_result_it_is_recorded_again(monkeypatch, tmp_path):
    monkeypatch.setattr(recording, "RACE", tmp_path)
    assert recording.missing() == [recording.PARENT.id]
