"""The answer in one picture: where its points lie, and what it says of them."""

from __future__ import annotations

import json

from dashboard.charts.answer import answer_chart, answer_finding
from dashboard.charts.chart import NOTHING
from tests.helpers.made_up_sharpness import effect

TITLES = {"lambda_max": "Largest Hessian eigenvalue", "fisher_trace": "Trace of the Hessian"}
FOUND = [
    effect("backdoored", "raw", 1.5),
    effect("backdoored", "raw", 1.6, "fisher_trace"),
    effect("backdoored", "loss", 1.1),
    effect("purified", "raw", 0.7),
]


def test_points_lie_at_their_ratio_in_the_row_of_their_question() -> None:
    chart = answer_chart(FOUND, TITLES)
    json.dumps(chart.figure, allow_nan=False)
    eigenvalue, trace = chart.figure["data"]
    assert eigenvalue["x"] == [1.5, 1.1, 0.7] and trace["x"] == [1.6]
    assert [round(y) for y in eigenvalue["y"]] == [0, 1, 2] and round(trace["y"][0]) == 0
    bars = eigenvalue["error_x"]
    assert bars["array"][0] == 1.5 * 1.2 - 1.5 and bars["arrayminus"][0] == 1.5 - 1.5 / 1.2
    assert [row["Compared"] for row in chart.rows] == [
        "as they are",
        "as they are",
        "at the same clean loss",
        "as they are",
    ]
    assert chart.rows[3]["Rests on"] == (
        "4 models, 2 attacks, 3 benign models, 5 purification seeds"
    )


def test_each_row_says_its_answer() -> None:
    words = [note["text"] for note in answer_chart(FOUND, TITLES).figure["layout"]["annotations"]]
    assert words == [
        "With a backdoor, against without, <i>as they are</i>: <b>sharper</b>",
        "With a backdoor, against without, <i>at the same clean loss</i>: "
        "<b>no clear difference</b>",
        "After NGF, against before, <i>as they are</i>: <b>smoother</b>",
    ]
    apart = [FOUND[0], effect("backdoored", "raw", 1.0, "fisher_trace")]
    (note,) = answer_chart(apart, TITLES).figure["layout"]["annotations"]
    assert note["text"].endswith("<b>it depends on the measure</b>")


def test_what_is_no_part_of_the_picture_is_not_drawn() -> None:
    more = [effect("backdoored", "direct", 3.0), effect("backdoored", "raw", 3.0, "weight_norm")]
    assert answer_chart([*FOUND, *more], TITLES) == answer_chart(FOUND, TITLES)


def test_the_finding_says_which_side_an_interval_lies_on() -> None:
    assert answer_finding(FOUND, TITLES) == (
        "By the largest Hessian eigenvalue, a network with a backdoor is 1.50 times (1.25 to 1.80: "
        "sharper) as sharp as one without, at the same clean loss 1.10 times (0.92 to 1.32: no "
        "clear difference) (4 models, 2 attacks, 3 benign models); after NGF it is 0.70 times "
        "(0.58 to 0.84: smoother) as sharp as before (4 models, 2 attacks, 3 benign models, 5 "
        "purification seeds)."
    )


def test_nothing_measured_is_said() -> None:
    assert answer_chart([], TITLES).finding == NOTHING
