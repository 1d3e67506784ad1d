"""Every preset is a sweep that can be run."""

from __future__ import annotations

import pytest

from ngf.config import TrainSpec
from ngf.runs.store import Store
from ngf.sweeps.presets import PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_can_be_run(name, tmp_path):
    found = PRESETS[name].make().expand(Store(tmp_path / "runs"))
    assert len(found.points) > 10 and (name == "everything" or not found.refused)


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "everything"])
def test_its_models_are_those_of_the_zoo(name, tmp_path):
    store = Store(tmp_path / "runs")
    specs = PRESETS[name].make().expand(store).specs()
    trainings = [spec.id for spec in specs.values() if isinstance(spec, TrainSpec)]
    assert trainings and all((store.zoo / name).is_dir() for name in trainings)
