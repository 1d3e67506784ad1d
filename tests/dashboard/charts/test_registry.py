"""Charts drawn by their names, of runs and of measurements."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from analysis.measurements.base import Picture
from dashboard.charts import registry
from dashboard.charts.chart import NOTHING
from dashboard.charts.pixels import COLUMNS
from dashboard.charts.registry import (
    DRAWN_OF,
    LIVE,
    OF_MEASUREMENTS,
    VALUES,
    WAITING,
    ChartOptions,
    draw,
    draw_outline,
    draw_run,
)
from dashboard.charts.subject import BACKDOORED, BENIGN, Measured
from ngf.runs.log import read_outline
from tests.helpers.made_up_charts import plane
from tests.helpers.run_folders import RACE, TRAIN, epoch_events, long_race, race_events


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


def test_the_chart_of_a_long_run_says_what_it_leaves_out(tmp_path: Path) -> None:
    """Exactly the same chart below the limit; above it the same sentence, of all that happened."""
    for steps, whole in ((1999, True), (9000, False)):
        events = [{"seq": seq, "t": 0, **event} for seq, event in enumerate(long_race(steps))]
        path = tmp_path / f"{steps}.jsonl"
        path.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
        for name in ("race", "internals"):
            full, made = draw_run(name, RACE, events), draw_outline(name, RACE, read_outline(path))
            if whole:
                assert (made.figure, made.finding, made.alt, list(made.rows)) == (
                    full.figure,
                    full.finding,
                    full.alt,
                    list(full.rows),
                )
                continue
            said = " Of every 16 steps the lowest and the highest values are drawn."
            assert made.finding == full.finding + said
            assert made.figure["layout"] == full.figure["layout"]
            for drawn, of_all in zip(made.figure["data"], full.figure["data"], strict=True):
                assert drawn["name"] == of_all["name"] and len(drawn["x"]) <= 2 * COLUMNS + 3
                assert (drawn["y"][0], drawn["y"][-1]) == (of_all["y"][0], of_all["y"][-1])
                assert min(drawn["y"]) == min(of_all["y"]) and max(drawn["y"]) == max(of_all["y"])
    begun = draw_outline("race", RACE, read_outline(path, 0))
    assert not begun.finding.startswith("Reading")
    path.rename(tmp_path / "not yet read.jsonl")
    begun = draw_outline("race", RACE, read_outline(tmp_path / "not yet read.jsonl", 0))
    assert re.match(r"Reading a long run, \d+ % so far\. ", begun.finding)
