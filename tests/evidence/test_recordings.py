"""The purifications that ship are complete, and of what the step names."""

import json

import pytest

from evidence import recordings
from ngf.config import PurifySpec, TrainSpec, spec_from_json
from ngf.places import RECORDINGS
from ngf.runs.folder import RESULT, SPEC
from ngf.runs.recorded import RACE
from ngf.runs.store import Store

SHIPPED = sorted(path.parent.name for path in RECORDINGS.glob("*/" + RESULT))


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path)


def test_the_race_of_the_first_page_ships():
    assert RACE.id in SHIPPED


@pytest.mark.parametrize("run_id", SHIPPED)
def test_a_recording_is_a_complete_race(store, run_id):
    text = (RECORDINGS / run_id / SPEC).read_text(encoding="utf-8")
    spec = spec_from_json(json.loads(text))
    assert isinstance(spec, PurifySpec) and spec.id == run_id and spec in recordings.specs()
    assert isinstance(store.get(spec.parent).spec, TrainSpec)
    run = store.get(run_id)
    assert run.source == "shipped" and run.status == "done"
    for lane in spec.lane_names():
        steps = [
            event["step"]
            for event in run.events()
            if event["type"] == "step" and event["lane"] == lane
        ]
        assert steps == list(range(101))
        assert lane in run.finished()["lanes"]


def test_without_its_result_it_is_recorded_again(monkeypatch, tmp_path):
    monkeypatch.setattr(recordings, "RECORDINGS", tmp_path)
    assert recordings.missing() == [spec.parent for spec in recordings.specs()]
    assert RACE.parent in recordings.missing()
