"""Sharpness against clean loss, model by model."""

from __future__ import annotations

import json
from typing import Any

from dashboard.charts.chart import NOTHING, Chart
from dashboard.charts.minima import ON_THE_WAY, minima_chart
from tests.helpers.made_up_sharpness import sharpness


def drawn(**other: Any) -> Chart:
    found = sharpness() | other
    effects = [row for row in found["effects"] if row["measure"] == "lambda_max"]
    effects = [row for row in effects if row["attack"] == "all"]
    parts = (found["models"], found["purified"], found["along"], effects)
    return minima_chart(*parts, "lambda_max", "λmax")


def test_each_model_has_a_mark_and_each_benign_training_a_line() -> None:
    chart = drawn()
    json.dumps(chart.figure, allow_nan=False)
    traces = {trace["name"]: trace for trace in chart.figure["data"]}
    assert len(traces["Benign"]["x"]) == 3 and len(traces["Backdoored"]["x"]) == 4
    assert len(traces["Purified by NGF"]["x"]) == 4, "five purifications of a model are one mark"
    way = traces[ON_THE_WAY]
    assert way["x"] == [*(1, 0.1, 0.004, None), *(1, 0.1, 0.005, None), *(1, 0.1, 0.006, None)]
    assert way["y"][:3] == [900.0, 90.0, 3.6]
    assert traces["Way of NGF, mean"]["y"] == [9, 8, 7]
    assert len(chart.rows) == 3 + 4 + 6 + 4


def test_the_finding_compares_as_they_are_and_along_the_lines() -> None:
    assert drawn().finding == (
        "λmax: backdoored models have 1.50 times (1.25 to 1.80: sharper) that of benign ones (4 "
        "models, 2 attacks, 3 benign models); at the same clean loss, along the gray lines, 1.10 "
        "times (0.92 to 1.32: no clear difference)."
    )
    assert drawn(effects=[]).finding == "Too few models for a comparison yet."


def test_what_is_not_there_is_not_drawn() -> None:
    few = [row for row in sharpness()["models"] if row["kind"] == "final"]
    names = {trace["name"] for trace in drawn(models=few, purified=[], along=[]).figure["data"]}
    assert names == {"Benign", "Backdoored"}
    assert drawn(models=[], purified=[], along=[]).finding == NOTHING
