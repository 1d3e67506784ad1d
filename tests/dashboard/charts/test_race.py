"""The chart of a race: its lines and labels, its axis, and what it says of the lanes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dashboard.charts.progress import internals_chart
from dashboard.charts.race import race_chart
from dashboard.charts.style import IMAGES, METHODS
from ngf.config import Choice, PurifySpec
from tests.helpers.made_up_charts import BESIDE, FULL, PRUNING, TUNING, pruning
from tests.helpers.run_folders import RACE, TRAIN, race_events

ONE = PurifySpec(parent=TRAIN.id, lanes=(Choice("ngf"),))


def test_lanes_have_a_color_and_rates_a_line_and_a_marker() -> None:
    traces = FULL["race"].figure["data"]
    looks = [
        (t["name"], t["line"]["color"], t["line"]["dash"], t["marker"]["symbol"]) for t in traces
    ]
    assert looks == [
        (f"{name} {rate}", METHODS[lane].color, dash, symbol)
        for lane, name in (("ngf", "NGF"), ("sgd", "SGD"))
        for rate, dash, symbol in (
            ("CA", "solid", "circle"),
            ("ASR", "dash", "triangle-up"),
            ("RA", "dot", "square"),
        )
    ]
    assert (
        traces[0]["x"] == list(range(0, 101, 5))
        and 0 <= min(traces[1]["y"]) <= max(traces[1]["y"]) <= 100
    )


def test_a_single_lane_gives_the_rates_their_own_colors() -> None:
    traces = race_chart(ONE, [event for event in race_events() if event["lane"] == "ngf"]).figure[
        "data"
    ]
    images = ("clean", "triggered_target", "triggered_true")
    assert [trace["line"]["color"] for trace in traces] == [IMAGES[name].color for name in images]
    assert [trace["name"] for trace in traces] == [
        "Clean accuracy",
        "Attack success rate",
        "Robust accuracy",
    ]


def test_the_axis_does_not_move_while_a_race_goes_on() -> None:
    early, late = race_chart(RACE, race_events(10)), FULL["race"]
    for axis in ("xaxis", "yaxis"):
        assert early.figure["layout"][axis]["range"] == late.figure["layout"][axis]["range"]


def test_every_line_of_a_race_has_its_direct_label() -> None:
    """Where it stands is found by the page: tests/dashboard/components/test_live_component.py."""
    labels = FULL["race"].figure["layout"]["annotations"]
    assert [note["name"] for note in labels] == [f"label:{i}" for i in range(6)]
    assert all(set(note) == {"name", "text"} for note in labels)
    color = METHODS["sgd"].color
    assert labels[4]["text"] == f'<span style="color:{color}">▲</span> SGD ASR'


def test_race_finding() -> None:
    assert FULL["race"].finding == (
        "After 100 steps NGF has cut the attack success rate from 99.4 % to 0.4 % and kept clean "
        "accuracy within 0.6 points; SGD still stands at 99.9 %."
    )


def step(lane: str, k: int, ca: float, asr: float | None) -> dict[str, Any]:
    return {
        "type": "step",
        "lane": lane,
        "step": k,
        "steps": 10,
        "ca": ca,
        "asr": asr,
        "ra": None,
        "loss": 0.1,
    }


@pytest.mark.parametrize(
    ("events", "finding"),
    [
        (
            [step("ngf", 0, 0.991, 0.997)],
            "Before the first step, clean accuracy is 99.1 % and the attack success rate 99.7 %.",
        ),
        ([step("ngf", 0, 0.991, None)], "Before the first step, clean accuracy is 99.1 %."),
        (
            [step("ngf", 0, 0.991, 0.997), step("ngf", 1, 0.991, 0.99)],
            "After 1 step NGF has left the attack success rate at 99.0 % and kept clean accuracy "
            "at 99.1 %.",
        ),
        (
            [step("ngf", 0, 0.99, 0.5), step("ngf", 2, 0.94, 0.6)],
            "After 2 steps NGF has raised the attack success rate from 50.0 % to 60.0 % and "
            "lowered clean accuracy by 5.0 points to 94.0 %.",
        ),
        (
            [step("ngf", 0, 0.99, None), step("ngf", 9, 0.95, None)],
            "After 9 steps NGF has lowered clean accuracy by 4.0 points to 95.0 %.",
        ),
        (
            [
                step("ngf", 0, 0.99, 0.9),
                step("ngf", 9, 0.99, 0.1),
                step("sgd", 0, 0.99, 0.9),
                step("sgd", 5, 0.9, 0.3),
            ],
            "After 9 steps NGF has cut the attack success rate from 90.0 % to 10.0 % and kept "
            "clean accuracy at 99.0 %; SGD has cut it to 30.0 % after 5 steps at a cost of 9.0 "
            "points of clean accuracy.",
        ),
        (
            [
                step("ngf", 0, 0.99, 0.9),
                step("ngf", 9, 0.99, 0.1),
                step("sgd", 0, 0.99, 0.9),
                step("sgd", 9, 0.99, 0.95),
            ],
            "After 9 steps NGF has cut the attack success rate from 90.0 % to 10.0 % and kept "
            "clean accuracy at 99.0 %; SGD has risen to 95.0 %.",
        ),
    ],
)
def test_race_findings_are_true(events: list[dict[str, Any]], finding: str) -> None:
    assert race_chart(RACE, events).finding == finding


@pytest.mark.parametrize("events", [pruning(), [*TUNING, *pruning()]])
def test_a_race_of_a_pruning(events: list[dict[str, Any]]) -> None:
    chart = race_chart(BESIDE, events)
    json.dumps(chart.figure, allow_nan=False)
    assert chart.figure["layout"]["xaxis"]["title"]["text"] == "Step"
    assert "Some pruning" in chart.finding and "learning rate" not in chart.finding
    mine = [trace for trace in chart.figure["data"] if trace["name"].startswith("Some pruning")]
    assert [trace["x"] for trace in mine] == [[0, 2, 4]] * 3
    assert race_chart(BESIDE, TUNING).figure["layout"]["xaxis"]["title"]["text"] == (
        "Step of fine-tuning"
    )


def test_the_axis_reaches_as_far_as_is_planned_by_now() -> None:
    first, *rest = pruning()
    for draw, shown in ((race_chart, 1.012 * 4), (internals_chart, 4)):
        chart = draw(PRUNING, [{**first, "steps": 60}, *rest])
        assert chart.figure["layout"]["xaxis"]["range"][1] == shown
        assert "over 4 steps" in chart.alt


def test_a_lane_that_diverged_is_told_beside_the_curves() -> None:
    ended = {"type": "diverged", "lane": "sgd", "step": 3, "message": "x"}
    events = [e for e in race_events() if e.get("lane") != "sgd" or e.get("step", 0) < 3]
    chart = race_chart(RACE, iter([*events, ended]))
    assert chart.finding.endswith("SGD diverged at step 3 and ended there.")
