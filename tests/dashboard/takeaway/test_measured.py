"""What was measured of the models of a run is found, put together, and drawn."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard.takeaway.measured import measurements_of, sections
from ngf.runs.store import MeasureRun, Store
from tests.helpers.run_folders import RACE, TRAIN, epoch_events, measured, race_events, write_run

RECORDED = "ngf-vs-sgd-ae43fe4fb4"
TRACE = {
    "layers": np.array(["stem", "linear"]),
    "layer_trace": np.array([2.0, 1.0]),
    "layer_trace_stderr": np.array([0.1, 0.1]),
}


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("NGF_RUNS", str(tmp_path / "runs"))
    write_run(tmp_path / "runs", TRAIN, epoch_events(), done=True)
    write_run(tmp_path / "runs", RACE, race_events(), done=True)
    return Store()


def trace(store, target, value, **more):
    values = {"fisher_trace": value, "fisher_trace_stderr": 0.5}
    return measured(store, "fisher_trace", target, values, TRACE, **more).id


def test_what_ships_is_found_without_having_been_asked_for():
    run = Store().get(RECORDED)
    found = sections(run)
    ids = {one.id for section in found for one in section.runs}
    shipped = {
        one.id
        for one in measurements_of(run.store, [f"{RECORDED}:ngf"])
        if one.spec.measurement.name != "pyhessian_check"  # a second opinion, on another page
    }
    assert shipped and shipped <= ids
    assert any(section.heading == "Curvature along a run" for section in found)
    for section in found:
        targets = [one.spec.target for one in section.runs]
        assert len(set(targets)) == len(targets) or section.heading.startswith("Line")
        assert all(chart.figure["data"] for _, chart in section.charts)
        assert section.cannot and "seed 0" in section.of


def test_models_of_one_measurement_stand_together_before_and_after(store):
    ids = [trace(store, target, 12.3456) for target in (f"{RACE.id}:sgd", TRAIN.id)]
    ids.append(trace(store, f"{RACE.id}:ngf", 3.21, complete=False))
    (section,) = sections(store.get(RACE.id))
    assert [run.id for run in section.runs] == [ids[1], ids[2], ids[0]]
    assert section.of == "Clean images · n = 64 · seed 0 · BatchNorm in eval mode (stored averages)"
    (row,) = section.table
    assert row["Backdoored"] == "12.3 ± 0.5" and row["Purified by NGF"] == "3.21 ± 0.5"
    assert section.partial == ["Purified by NGF"]
    ((_, chart),) = section.charts
    assert len(chart.figure["data"]) == 3


def test_other_settings_are_another_picture(store):
    trace(store, TRAIN.id, 1.0)
    trace(store, TRAIN.id, 2.0, num_images=32)
    assert len(sections(store.get(RACE.id))) == 2
    assert len(sections(store.get(TRAIN.id))) == 2


def test_a_measurement_is_its_own_picture(store):
    run = store.get(trace(store, TRAIN.id, 1.0))
    assert isinstance(run, MeasureRun)
    (section,) = sections(run)
    assert section.runs == [run] and len(section.charts) == 1


def test_what_has_found_nothing_is_left_out(store):
    trace(store, TRAIN.id, 1.0, complete=None)
    assert sections(store.get(RACE.id))[0].partial == ["Backdoored"]
    assert measurements_of(store, ["nobody"]) == []
