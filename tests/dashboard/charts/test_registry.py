"""Charts drawn by their names, of runs and of measurements."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict

import numpy as np
import pytest

from analysis.measurements.base import Picture
from dashboard.charts import registry
from dashboard.charts.chart import NOTHING
from dashboard.charts.registry import (
    DRAWN_OF,
    LIVE,
    OF_MEASUREMENTS,
    VALUES,
    WAITING,
    ChartOptions,
    draw,
    draw_run,
)
from dashboard.charts.subject import BACKDOORED, BENIGN, Measured
from tests.helpers.made_up_charts import plane
from tests.helpers.run_folders import RACE, TRAIN, epoch_events, race_events


def test_the_registry_draws_a_chart_of_the_runs_that_it_is_of() -> None:
    events = {"purify": race_events(), "train": epoch_events()}
    specs = {"purify": RACE, "train": TRAIN}
    for name, kind in DRAWN_OF.items():
        for other, spec in specs.items():
            if other == kind:
                assert draw_run(name, spec, events[kind]).figure["layout"], name
            else:
                with pytest.raises(KeyError):
                    draw_run(name, spec, events[other])
    assert set(LIVE) == set(specs) and all(DRAWN_OF[name] == kind for kind, name in LIVE.items())
    assert {name for name, kind in DRAWN_OF.items() if kind == "measure"} == set(OF_MEASUREMENTS)


def test_every_chart_of_measurements_waits_for_its_first_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    declared = Picture(question="?", value="margin", label="Margin", cannot="Much.")
    monkeypatch.setattr(registry, "pictures", lambda: {"margins": asdict(declared)})
    empty = [Measured(BENIGN, {}, {}), Measured(BACKDOORED, {}, {})]
    for name in OF_MEASUREMENTS:
        values = VALUES[name]() if name in VALUES else [ChartOptions.value]
        for value, together in itertools.product(values, (False, True)):
            for chart in draw(name, empty, ChartOptions(value=value, together=together)):
                assert chart.figure == WAITING and chart.finding == NOTHING
                json.dumps(chart.figure, allow_nan=False)


def test_a_model_without_numbers_leaves_the_others_as_they_are() -> None:
    slices = {
        "distance": np.array([-0.5, 0.0, 0.5]),
        **{key: np.array([1.0, 0.1, 1.0]) for key in ("mean", "low", "high")},
    }
    spectra = {
        "nodes": np.array([-0.1, 0.0, 9.0]),
        "weights": np.array([0.2, 0.7, 0.1]),
        "eigenvalues": np.array([-0.1, 0.0, 9.0]),
        "residuals": np.zeros(3),
    }
    for name, arrays in (("slices", slices), ("spectra", spectra), ("planes", plane())):
        charts = draw(
            name,
            [Measured(BENIGN, {"data": "clean"}, arrays), Measured(BACKDOORED, {}, {})],
            ChartOptions(),
        )
        assert charts[0].figure["data"] and charts[1].figure == WAITING
