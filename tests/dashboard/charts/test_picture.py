"""Pictures that measurements declare for themselves."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from analysis.measurements.base import Picture
from dashboard.charts.chart import NOTHING
from dashboard.charts.picture import picture_chart
from dashboard.charts.subject import BACKDOORED, Measured, Subject

PURIFIED = Subject("purified", "ngf")
NUMBER = asdict(
    Picture(question="?", value="margin", label="Margin", error="margin_stderr", cannot="Much.")
)
CURVE = asdict(
    Picture(
        question="?",
        value="share",
        label="Share of images",
        error="share_stderr",
        over="size",
        over_label="Size (pixels)",
        log=True,
        cannot="Much.",
    )
)


def test_a_number_is_one_bar_per_model_with_its_error():
    found = [
        Measured(BACKDOORED, {"margin": 4.0, "margin_stderr": 0.5}, {}),
        Measured(PURIFIED, {"margin": 2.0, "margin_stderr": 0.25}, {}),
        Measured(PURIFIED, {}, {}),  # not yet
    ]
    chart = picture_chart(found, NUMBER)
    json.dumps(chart.figure, allow_nan=False)
    assert [trace["x"] for trace in chart.figure["data"]] == [[4.0], [2.0]]
    assert [trace["error_x"]["array"] for trace in chart.figure["data"]] == [[0.5], [0.25]]
    assert chart.finding == (
        "Margin is 4 ± 0.5 for the backdoored model and 2 ± 0.25 for the model purified by NGF, "
        "2 times smaller."
    )


def test_an_array_over_another_is_one_curve_per_model_with_its_band():
    size = np.array([1, 2, 4])
    arrays = {"size": size, "share": size / 10, "share_stderr": np.full(3, 0.01)}
    chart = picture_chart(
        [Measured(BACKDOORED, {}, arrays), Measured(PURIFIED, {}, {"size": size})], CURVE
    )
    json.dumps(chart.figure, allow_nan=False)
    band, line = chart.figure["data"]
    assert band["y"] == pytest.approx([0.11, 0.21, 0.41, 0.39, 0.19, 0.09])
    assert (line["x"], line["y"]) == ([1, 2, 4], [0.1, 0.2, 0.4])
    assert line["line"]["color"] == BACKDOORED.mark.color
    assert chart.figure["layout"]["yaxis"]["type"] == "log"
    assert list(chart.table) == ["Model", "Size (pixels)", "Share of images"]
    assert chart.finding == "Share of images goes from 0.1 to 0.4 for the backdoored model."


def test_a_share_is_drawn_in_percent_between_its_ends():
    about = asdict(
        Picture(
            question="?",
            value="asr",
            label="ASR",
            low="low",
            high="high",
            over="epoch",
            over_label="Epochs",
            share=True,
            cannot="Much.",
        )
    )
    arrays = {"epoch": np.arange(2), "asr": np.array([0.0, 0.5])}
    arrays |= {"low": np.array([0.0, 0.4]), "high": np.array([0.1, 0.7])}
    chart = picture_chart([Measured(PURIFIED, {}, arrays)], about)
    band, line = chart.figure["data"]
    assert band["y"] == pytest.approx([10, 70, 40, 0]) and line["y"] == [0, 50]
    assert chart.figure["layout"]["yaxis"]["range"] == [-3, 103]
    assert chart.finding == "ASR goes from 0.0 % to 50.0 % for the model purified by NGF."
    assert list(chart.table) == ["Model", "Epochs", "ASR (%)"]


def test_nothing_measured_yet_is_said():
    for about in (NUMBER, CURVE):
        assert picture_chart([Measured(BACKDOORED, {}, {})], about).finding == NOTHING
