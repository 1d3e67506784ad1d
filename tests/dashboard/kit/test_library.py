"""Lookups in the store, and what runs are called."""

from __future__ import annotations

import shutil

from dashboard.kit import library
from dashboard.server import api
from ngf.config import Choice, MeasureSpec, PurifySpec
from tests.helpers.run_folders import TRAIN, write_run


def test_a_recording_and_a_run_look_alike(store, tmp_path):
    """The recorded race is a run folder like any other: the same reader, the same chart."""
    race = library.recording()
    assert race is not None, "no recording: run `python -m evidence recordings`"
    copy = store.root / race.spec.id
    shutil.copytree(race.path, copy)
    assert store.get(race.spec.id).events() == race.events()


def test_pages_and_routes_have_one_store(store):
    """Each sees it as its visitor may."""
    assert library.whole() is api.whole()
    assert library.store()._index is library.whole()._index
    assert library.store().root == store.root


def test_runs_are_found_by_what_they_are(store):
    race = PurifySpec(parent=TRAIN.id, lanes=(Choice("ngf"),))
    measurement = MeasureSpec(target=TRAIN.id, measurement=Choice("fisher_trace"))
    for spec in (TRAIN, race, measurement):
        write_run(store.root, spec, [])
    finders = (library.find_training, library.find_model_run, library.find_measurement)
    found = {
        spec.kind: [find(spec.id) is not None for find in finders]
        for spec in (TRAIN, race, measurement)
    }
    assert found == {
        "train": [True, True, False],
        "purify": [False, True, False],
        "measure": [False, False, True],
    }
    assert library.find("") is library.find_training("no-such-run") is None
    assert library.origin(race) == library.origin(TRAIN) == TRAIN
    shutil.rmtree(store.root / TRAIN.id)
    assert library.origin(race) is None
