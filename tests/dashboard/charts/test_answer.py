"""The answer in one picture: where its points lie, and what it says of them."""

from __future__ import annotations

import json
from typing import Any

from dashboard.charts.answer import answer_chart, answer_finding
from dashboard.charts.chart import NOTHING

TITLES = {"lambda_max": "Largest Hessian eigenvalue", "trace": "Trace of the Hessian"}


def _effect(
    question: str, compared: str, measure: str, ratio: float, **more: Any
) -> dict[str, Any]:
    interval = {"low": ratio / 1.2, "high": ratio * 1.2, "n": "5 models"} | more
    return {
        "question": question,
        "compared": compared,
        "measure": measure,
        "ratio": ratio,
    } | interval


FOUND = [
    _effect("backdoored", "raw", "lambda_max", 1.5),
    _effect("backdoored", "raw", "trace", 1.6),
    _effect("backdoored", "matched", "lambda_max", 1.1),
    _effect("purified", "raw", "lambda_max", 0.7),
]


def test_points_lie_at_their_ratio_in_the_row_of_their_question() -> None:
    chart = answer_chart(FOUND, TITLES)
    json.dumps(chart.figure, allow_nan=False)
    eigenvalue, trace = chart.figure["data"]
    assert eigenvalue["x"] == [1.5, 1.1, 0.7] and trace["x"] == [1.6]
    assert [round(y) for y in eigenvalue["y"]] == [0, 1, 2] and round(trace["y"][0]) == 0
    assert len(chart.figure["layout"]["yaxis"]["ticktext"]) == 3  # nothing was said of the fourth
    bars = eigenvalue["error_x"]
    assert bars["array"][0] == 1.5 * 1.2 - 1.5 and bars["arrayminus"][0] == 1.5 - 1.5 / 1.2
    assert [row["Compared"] for row in chart.rows] == [
        "as they are",
        "as they are",
        "at the same clean loss",
        "as they are",
    ]


def test_the_finding_says_which_side_an_interval_lies_on() -> None:
    assert answer_finding(FOUND, TITLES) == (
        "By the largest Hessian eigenvalue: A backdoored network is 1.50 times (1.25 to 1.80: "
        "sharper) as sharp as a benign one, and at the same clean loss 1.10 times (0.92 to 1.32: "
        "no clear difference). After NGF it is 0.70 times (0.58 to 0.84: smoother) as sharp as "
        "before."
    )


def test_nothing_measured_is_said() -> None:
    assert answer_chart([], TITLES).finding == NOTHING
