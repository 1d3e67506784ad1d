"""The chart of sharpness along a race."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest

from analysis.measures import MEASURES
from dashboard.charts.along_run import FIRST, SHOWN, curvature_chart
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


def drawn(**more):
    found = {lane: arrays(values) for lane, values in FOUND.items()}
    return curvature_chart(RACE, race_events(), found, **more)


@pytest.mark.parametrize("measures", [SHOWN[:1], FIRST, SHOWN])
def test_panels_share_the_step_axis_of_the_race(measures):
    chart = drawn(measures=measures)
    json.dumps(chart.figure, allow_nan=False)
    layout = chart.figure["layout"]
    axes = ["yaxis", "yaxis2", "yaxis3"][: len(measures)]
    domains = [layout[axis].get("domain", [0, 1]) for axis in axes]
    assert all(above[0] > below[1] for above, below in pairwise(domains))
    assert "yaxis" + str(len(measures) + 1) not in layout
    for axis in axes:
        own = [one for one in chart.figure["data"] if "yaxis" + one["yaxis"][1:] == axis]
        assert len(own) == 4 and all("xaxis" not in one for one in own), "bands and lines"
        assert layout[axis]["range"][1] > 580 and "tickvals" not in layout[axis]
    assert len(chart.table) == 6 and {"Error of λmax", "Step"} <= set(chart.table.columns)


def test_a_ball_on_each_line_follows_the_race():
    chart = drawn()
    balls = [chart.figure["data"][i] for i in chart.figure["layout"]["meta"]["balls"]]
    assert [one["yaxis"] for one in balls] == ["y", "y", "y2", "y2"]
    assert all("lines" in one["mode"] for one in balls), "on the lines, not on their bands"


def test_the_sentence_tells_end_start_and_peak():
    finding = drawn(measures=["lambda_max"]).finding
    assert "NGF is at 23 after step 100, 1.6 times its start (14), after a peak of 580" in finding
    assert (
        "SGD is at 13.5 after step 100, about where it started (14), after a peak of 60" in finding
    )


def test_nothing_measured_is_no_chart():
    assert curvature_chart(RACE, race_events(), {}).finding == "Nothing measured yet."


def test_sharpness_along_a_pruning() -> None:
    found = {name: values[:2] for name, values in arrays([14.0, 7.0, 7.0]).items()}
    tuned = found | {"step": np.array([0.0, 100.0])}
    pruned = found | {"step": np.array([0.0, 4.0])}
    lanes = {"ngf": tuned, "some_pruning": pruned}
    chart = curvature_chart(BESIDE, [*TUNING, *pruning()], lanes, ["lambda_max"])
    json.dumps(chart.figure, allow_nan=False)
    assert [one["marker"]["symbol"] for one in chart.figure["data"] if "marker" in one] == [
        METHODS["ngf"].symbol,
        lane_mark("some_pruning").symbol,
    ]
    assert "Some pruning is at 7 after step 4" in chart.finding
