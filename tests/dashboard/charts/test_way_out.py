"""The loss on two kinds of images along a purification."""

import numpy as np

from dashboard.charts.subject import Measured, Subject
from dashboard.charts.way_out import way_out_chart

NGF = Subject("purified", "ngf")


def way(images: str, *losses: float) -> Measured:
    steps = np.arange(len(losses)) * 10
    return Measured(NGF, {"data": images}, {"step": steps, "loss": np.array(losses)})


def test_a_ball_lies_on_each_line():
    chart = way_out_chart([way("clean", 0.01, 0.02), way("triggered_true", 8.0, 0.07)], "NGF")
    names = [trace["name"] for trace in chart.figure["data"]]
    assert names == ["signs with the trigger", "clean signs"]
    assert chart.figure["layout"]["meta"]["balls"] == [0, 1]
    assert chart.finding == (
        "Within 10 steps of NGF, the loss goes on signs with the trigger from 8 to 0.07, on clean "
        "signs from 0.01 to 0.02."
    )
    assert [row["Loss"] for row in chart.rows] == [8.0, 0.07, 0.01, 0.02]


def test_what_is_not_measured_is_not_drawn():
    chart = way_out_chart([Measured(NGF, {"data": "clean"}, {})], "NGF")
    assert chart.figure["data"] == [] and not chart.rows
