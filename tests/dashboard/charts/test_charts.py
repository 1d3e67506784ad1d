"""What every chart has: plain JSON, a table and a true sentence; names from outside are escaped."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from dashboard.charts.bars import measure_bars
from dashboard.charts.chart import NOTHING, Chart
from dashboard.charts.frontier import frontier_chart
from dashboard.charts.layers import layer_chart
from dashboard.charts.loss_plane import plane_chart
from dashboard.charts.loss_slice import slice_chart
from dashboard.charts.progress import internals_chart
from dashboard.charts.race import race_chart
from dashboard.charts.spectrum import spectrum_chart
from dashboard.charts.style import IMAGES
from dashboard.charts.subject import BENIGN, Measured, Subject
from dashboard.charts.training import training_chart
from ngf.config import Choice, PurifySpec
from tests.helpers.made_up_charts import (
    BARS,
    FULL,
    LAYERS,
    NGF,
    PLANE,
    POINTS,
    SLICES,
    SPECTRA,
    plane,
)
from tests.helpers.run_folders import RACE, TRAIN, race_events

EMPTY: dict[str, Chart] = {
    "race": race_chart(RACE, []),
    "training": training_chart([]),
    "internals": internals_chart(RACE, []),
    "layers": layer_chart([]),
    "frontier": frontier_chart([]),
    "slice": slice_chart([]),
    "spectrum": spectrum_chart([]),
    "bars": measure_bars([]),
    "phases": race_chart(RACE, [{"type": "phase", "phase": "loading data"}]),
}


@pytest.mark.parametrize("name", FULL)
def test_a_chart_is_plain_json_with_table_finding_and_alt(name: str) -> None:
    chart = FULL[name]
    text = json.dumps(chart.figure, allow_nan=False)
    assert len(text) < 300_000
    assert chart.figure["data"] and len(chart.table) and chart.finding.endswith(".") and chart.alt
    assert '"color": "#000' not in text, "text and grid take their color from the theme"


@pytest.mark.parametrize("name", EMPTY)
def test_no_data_is_an_empty_figure_that_says_so(name: str) -> None:
    chart = EMPTY[name]
    json.dumps(chart.figure, allow_nan=False)
    assert chart.figure["data"] == []
    assert chart.finding == chart.alt == NOTHING
    assert len(chart.table) == 0


def test_findings_of_measurements() -> None:
    assert FULL["slice"].finding == (
        "At distance 0.5, the loss of the backdoored model rises by 4 (from 0.1) and that "
        "of the model purified by NGF rises by 0.5 (from 0.1)."
    )
    assert (
        FULL["line"].finding == "On clean images the loss goes from 0.1 to 0.2 over a hill of 1.9."
    )
    assert FULL["spectrum"].finding == (
        "The largest eigenvalue of the backdoored model is 400 ± 2, that of the model purified by "
        "NGF is 20 ± 2; along its steepest direction the model purified by NGF is 20 times flatter."
    )
    assert FULL["bars"].finding == (
        "λmax is 400 ± 9 for the backdoored model and 20 ± 0.5 for the model purified by NGF, "
        "20 times smaller."
    )
    close = [BARS[0], replace(BARS[1], value=395.0)]
    assert measure_bars(close).finding.endswith("the difference is within the error bars.")
    three = [replace(BARS[0], subject=BENIGN, value=100.0), *BARS]
    assert measure_bars(three).finding == (
        "λmax is 100 ± 9 for the benign model, 400 ± 9 for the backdoored model and 20 ± 0.5 for "
        "the model purified by NGF; the last is 20 times smaller than the one before."
    )


def test_one_model_alone() -> None:
    assert (
        spectrum_chart(SPECTRA[:1]).finding
        == "The largest eigenvalue of the backdoored model is 400 ± 2."
    )
    assert measure_bars(BARS[:1]).finding == "λmax of the backdoored model is 400 ± 9."
    assert slice_chart(SLICES[:1]).figure["layout"]["showlegend"] is False


def test_the_spectra_of_many_models_lie_in_a_row_each() -> None:
    """Densities of more than four models hide each other."""
    many = [
        replace(SPECTRA[i % 2], subject=Subject("purified", f"lane{i}"), lambda_max=10.0 + i)
        for i in range(6)
    ]
    chart = spectrum_chart(many)
    traces = chart.figure["data"]
    assert {y for trace in traces for y in trace["y"]} == set(range(6))
    assert all(trace["mode"] == "markers" for trace in traces) and len(traces) == 12
    assert len(chart.figure["layout"]["yaxis"]["ticktext"]) == 6
    assert "Of 6 models the largest eigenvalue is lowest for" in chart.finding
    assert "10 ± 2" in chart.finding and "15 ± 2" in chart.finding
    few = spectrum_chart(many[:4]).figure["data"]
    assert sum(trace["mode"] == "lines" for trace in few) == 4


def test_lines_of_one_color_differ_in_dash_or_images() -> None:
    models = [replace(SLICES[0], subject=Subject("purified", "ngf"))] * 3
    lines = [one for one in slice_chart(models).figure["data"] if one["mode"] == "lines+markers"]
    assert [one["line"]["dash"] for one in lines] == ["solid", "dash", "dot"]
    both = [replace(SLICES[0], images=images) for images in list(IMAGES)[:2]]
    lines = [one for one in slice_chart(both).figure["data"] if one["mode"] == "lines+markers"]
    assert len({one["line"]["dash"] for one in lines}) == 2


def test_names_from_outside_are_escaped() -> None:
    evil = "<img src=x onerror=alert(1)>"
    subject = Subject("purified", evil)
    race = PurifySpec(parent=TRAIN.id, lanes=(Choice(evil), Choice("sgd")))
    events = [{**event, "lane": evil, evil: event["step"]} for event in race_events(20)]
    charts = [
        race_chart(race, events),
        internals_chart(race, events),
        slice_chart([replace(SLICES[0], subject=subject), SLICES[1]]),
        spectrum_chart([replace(SPECTRA[0], subject=subject)]),
        measure_bars([replace(BARS[0], subject=subject)]),
        measure_bars([replace(BARS[0], label=evil), BARS[1]]),
        layer_chart([{**LAYERS[0], "layer": evil, "lane": evil}]),
        frontier_chart(
            [{**POINTS[0], "method": evil}, {**POINTS[0], "method": evil, "how": "rule"}]
        ),
        plane_chart(Measured(subject, PLANE, plane())),
        plane_chart(
            Measured(
                subject, {**PLANE, "a_unit": evil, "plane": "models", "third": f"x:{evil}"}, plane()
            )
        ),
        plane_chart(Measured(NGF, PLANE, plane() | {"point_names": np.array([evil])})),
    ]
    for chart in charts:
        assert chart.figure["data"], "it is drawn"
        assert "<img" not in json.dumps(chart.figure)
