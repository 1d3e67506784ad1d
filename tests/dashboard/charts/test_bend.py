"""The chart of a trained bend says what the numbers say."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard.charts.bend import bend_chart
from dashboard.charts.chart import NOTHING


@pytest.mark.parametrize(
    ("line", "bend", "words"),
    [
        ([0.1, 0.1, 0.2], [0.1, 0.1, 0.2], "The straight line has no hill"),
        (
            [0.1, 3.0, 0.2],
            [0.1, 0.5, 0.2],
            "The highest loss on the bend is 0.5 after 60 training steps, below the 3",
        ),
        ([0.1, 3.0, 0.2], [0.1, 2.95, 0.2], "no lower than the 3 of the straight line"),
    ],
)
def test_a_bend_says_whether_it_goes_around(
    line: list[float], bend: list[float], words: str
) -> None:
    arrays = {
        "t": np.array([0.0, 0.5, 1.0]),
        "loss": np.array(bend),
        "line_loss": np.array(line),
        "ca": np.ones(3),
        "line_ca": np.ones(3),
    }
    values = {
        "highest_line": max(line),
        "highest_bend": max(bend),
        "loss_start": 0.1,
        "loss_end": 0.2,
        "steps_done": 60,
    }
    chart = bend_chart(values, arrays)
    assert words in chart.finding
    assert [trace["name"] for trace in chart.figure["data"]] == ["Trained bend", "Straight line"]
    assert len(chart.table) == 6
    assert bend_chart({}, {}).finding == NOTHING
