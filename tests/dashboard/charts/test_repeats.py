"""The chart of a repeated race: its bands, its means, and what it says of the spread."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dashboard.charts.repeats import Repeat, repeats_chart
from tests.helpers.run_folders import RACE, race_events


def _repeat(seed: int, asr: float, lost: str = "") -> Repeat:
    """A race whose NGF ends at `asr`, a straight line from 1."""
    events = [
        {**event, "asr": 1 - (1 - asr) * event["step"] / 100}
        if event["lane"] == "ngf" and "asr" in event
        else event
        for event in race_events(every=5 + 5 * (seed % 2))  # measured at other steps
        if event["lane"] != lost
    ]
    lanes: dict[str, dict[str, Any]] = {
        "ngf": {"after": {"ca": 0.98 + 0.001 * seed, "asr": asr, "ra": 0.9}},
        "sgd": {"after": {"ca": 0.99, "asr": 1.0, "ra": 0.0}},
    }
    if lost:
        lanes[lost] = {"diverged": {"step": 3}}
    return Repeat(replace(RACE, seed=seed), events, lanes)


def test_the_band_goes_from_the_lowest_to_the_highest_around_the_mean() -> None:
    chart = repeats_chart([_repeat(0, 0.1), _repeat(1, 0.7), _repeat(2, 0.4)])
    traces = {trace.get("name") or trace["legendgroup"]: trace for trace in chart.figure["data"]}
    lines = [trace["name"] for trace in chart.figure["data"] if "name" in trace]
    assert lines == ["NGF CA", "NGF ASR", "SGD CA", "SGD ASR"]
    mean = traces["NGF ASR"]["y"]
    assert mean[0] == pytest.approx(100) and mean[-1] == pytest.approx(40)
    assert mean[50] == pytest.approx(70)  # the middle of straight lines, however often measured
    around = next(
        trace for trace in chart.figure["data"] if trace.get("fill") and trace["y"][0] > 99.9
    )
    assert around["x"][:101] == traces["NGF ASR"]["x"]
    band = [trace["y"] for trace in chart.figure["data"] if trace.get("legendgroup") == "NGF ASR"][
        0
    ]
    assert (band[100], band[101]) == (pytest.approx(70), pytest.approx(10))


def test_the_finding_names_the_seeds_and_the_spread() -> None:
    chart = repeats_chart([_repeat(0, 0.1), _repeat(1, 0.7)])
    assert chart.finding == (
        "Over 2 purification seeds, NGF leaves an attack success rate of 40.0 % (10.0 to 70.0) at "
        "clean accuracy 98.0 % (98.0 to 98.1); SGD leaves an attack success rate of 100.0 % "
        "(100.0 to 100.0) at clean accuracy 99.0 % (99.0 to 99.0)."
    )
    assert [(row["Seed"], row["Lane"]) for row in chart.rows] == [
        (0, "NGF"),
        (0, "SGD"),
        (1, "NGF"),
        (1, "SGD"),
    ]


def test_a_lane_that_diverged_counts_for_nothing_and_is_said() -> None:
    chart = repeats_chart([_repeat(0, 0.1), _repeat(1, 0.7, lost="sgd")])
    assert "1 of the lanes diverged and count for nothing." in chart.finding
    assert "SGD leaves an attack success rate of 100.0 %" in chart.finding
    assert len(chart.rows) == 3
