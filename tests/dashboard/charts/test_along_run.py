"""The chart of sharpness along a race."""

from __future__ import annotations

import json

import numpy as np
import pytest

from analysis.measures import MEASURES
from dashboard.charts.along_run import SHOWN, along_chart
from dashboard.charts.style import METHODS, lane_mark
from tests.helpers.made_up_charts import BESIDE, TUNING, pruning
from tests.helpers.run_folders import RACE, race_events

FOUND = {"ngf": [14.0, 580.0, 23.0], "sgd": [14.0, 60.0, 13.5]}


def arrays(values: list[float]) -> dict[str, np.ndarray]:
    made = {name: np.array(values) for name in SHOWN} | {
        MEASURES[name].error: np.full(3, 0.5) for name in SHOWN
    }
    return made | {
        "step": np.array([0.0, 10.0, 100.0]),
        "loss": np.ones(3),
        "distance_from_start": np.arange(3.0),
    }


@pytest.mark.parametrize("measure", SHOWN)
def test_two_panels_share_the_step_axis(measure):
    chart = along_chart(
        RACE, race_events(), {lane: arrays(values) for lane, values in FOUND.items()}, measure
    )
    json.dumps(chart.figure, allow_nan=False)
    below = [trace for trace in chart.figure["data"] if trace.get("yaxis") == "y2"]
    assert len(below) == 4 and all("xaxis" not in trace for trace in below), (
        "a band and a line for each lane"
    )
    layout = chart.figure["layout"]
    assert layout["yaxis2"]["domain"][1] < layout["yaxis"]["domain"][0]
    assert layout["yaxis2"]["range"][1] > 580
    assert len(chart.table) == 6 and chart.alt.startswith("Two panels")


def test_the_sentence_tells_end_start_and_peak():
    chart = along_chart(
        RACE, race_events(), {lane: arrays(values) for lane, values in FOUND.items()}
    )
    assert (
        "NGF is at 23 after step 100, 1.6 times its start (14), after a peak of 580"
        in chart.finding
    )
    assert (
        "SGD is at 13.5 after step 100, about where it started (14), after a peak of 60"
        in chart.finding
    )


def test_nothing_measured_is_no_chart():
    assert along_chart(RACE, race_events(), {}).finding == "Nothing measured yet."


def test_sharpness_along_a_pruning() -> None:
    arrays = {
        "step": np.array([0.0, 4.0]),
        "lambda_max": np.array([14.0, 7.0]),
        MEASURES["lambda_max"].error: np.array([0.5, 0.5]),
        "loss": np.ones(2),
        "distance_from_start": np.zeros(2),
    }
    tuned = arrays | {"step": np.array([0.0, 100.0])}
    chart = along_chart(BESIDE, [*TUNING, *pruning()], {"ngf": tuned, "some_pruning": arrays})
    json.dumps(chart.figure, allow_nan=False)
    below = [trace for trace in chart.figure["data"] if trace.get("yaxis") == "y2"]
    assert [trace["marker"]["symbol"] for trace in below if "marker" in trace] == [
        METHODS["ngf"].symbol,
        lane_mark("some_pruning").symbol,
    ]
    assert "Some pruning is at 7 after step 4" in chart.finding
