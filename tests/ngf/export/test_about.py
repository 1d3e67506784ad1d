"""What goes with every file: run, seed, counts, versions, command."""

from __future__ import annotations

import shutil

import pytest

from ngf.export.about import about, in_lines, known
from ngf.options import SpecError
from ngf.runs.store import Store
from tests.helpers.run_folders import RACE, TRAIN, epoch_events, measured, race_events, write_run


@pytest.fixture
def store(tmp_path):
    write_run(tmp_path, TRAIN, epoch_events(), done=True)
    write_run(tmp_path, RACE, race_events(40))
    return Store(tmp_path)


def test_of_the_recorded_race():
    run = Store().get("ngf-vs-sgd-ae43fe4fb4")
    found = about(run)
    assert (found["run"], found["seed"], found["partial"]) == (run.id, 0, False)
    assert found["n"] == {
        "clean test images": 2400,
        "triggered ones": 2202,
        "clean images of the defender": 500,
    }
    environment = run.finished()["environment"]
    assert found["versions"]["torch"] == environment["torch"]
    assert found["versions"]["ngf"] == environment["ngf"]
    assert found["repeat"][0].startswith("python -m ngf purify")


def test_of_a_measurement(store):
    spec = measured(store, "fisher_trace", TRAIN.id, {"fisher_trace": 2.0}, {})
    assert about(store.get(spec.id))["n"] == {"images (clean)": 64}
    lines = in_lines([about(store.get(spec.id))])
    assert "n: 64 images (clean)" in lines and lines[-1].startswith("written by: ngf ")


def test_of_a_run_that_goes_on_and_of_one_that_is_gone(store):
    run = store.get(RACE.id)
    assert about(run)["partial"] and in_lines([about(run)])[0].endswith("PARTIAL: it is queued")
    shutil.rmtree(run.path)
    with pytest.raises(SpecError):
        about(run)
    (gone,) = known([run])
    assert (gone["run"], gone["status"], gone["repeat"]) == (RACE.id, "deleted", [])
