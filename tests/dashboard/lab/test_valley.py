"""The valley map beside the race."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dashboard.kit import library
from dashboard.lab.valley import measurement, spec_of
from ngf.config import Choice, MeasureSpec
from tests.helpers.pages import button, checked, text
from tests.helpers.run_folders import RACE, measured, race_events, write_run


@pytest.fixture
def race(store, zoo_model):
    spec = replace(RACE, parent=zoo_model.id, seed=77)
    write_run(store.root, spec, race_events(), done=True)
    return library.find(spec.id)


def plane(store, spec: MeasureSpec) -> None:
    options = dict(spec.measurement.options)
    arrays = {
        "a": np.linspace(-1, 1, 3),
        "b": np.linspace(-1, 1, 3),
        "loss": np.arange(9.0).reshape(1, 3, 3) + 0.1,
        "rate": np.full((1, 3, 3), 0.5),
        "path": np.array([[0.0, 0.0], [0.5, 0.2], [1.0, 0.0]]),
        "path_names": np.array(["step 0", "step 20", "step 100"]),
    }
    values = {"data": "triggered_true", "n": 256, "plane": "models", "path_share": 0.62}
    made = measured(store, "loss_plane", spec.target, values, arrays, **options)
    assert made == spec


def test_it_is_the_plane_through_the_models_on_triggered_images(race):
    spec = spec_of(race)
    options = spec.measurement.options
    assert (options["plane"], options["data"]) == ("models", "triggered_true")
    assert spec.target == f"{race.id}:ngf" and options["third"] == f"{race.id}:sgd"


def test_a_single_defense_takes_the_benign_model_for_the_third(store, zoo_model):
    spec = replace(RACE, parent=zoo_model.id, lanes=(Choice("ngf"),))
    write_run(store.root, spec, race_events(), done=True)
    third = spec_of(library.find(spec.id)).measurement.options["third"]
    assert library.find(third).spec.attack.name == "none"


def test_a_benign_model_has_no_valley(store):
    benign = next(run for run in library.trained() if run.spec.attack.name == "none")
    spec = replace(RACE, parent=benign.id)
    write_run(store.root, spec, race_events(), done=True)
    assert spec_of(library.find(spec.id)) is None


def test_it_is_asked_for_on_a_press_and_stands_beside_the_race_when_it_is_known(
    open_page, store, race
):
    page = open_page("lab", run=race.id)
    assert "Loss on triggered images with their true labels" not in text(page)
    checked(button(page, "lab.valley").click().run())
    assert measurement(race).status == "queued", "it waits, and its place is there"
    store.delete(measurement(race).id)
    plane(store, spec_of(race))
    page = open_page("lab", run=race.id)
    assert "62 % of its length lies in this plane" in text(page)
    assert "n = 256 · seed 0" in text(page)
    assert "lab.valley" not in [item.key for item in page.button]
