"""Races on one axis: what is drawn, what is averaged, and what is said."""

from __future__ import annotations

import json

import pytest

from dashboard.charts.compared import t_interval
from dashboard.charts.overlay import overlay_chart
from dashboard.charts.rates import RATES
from dashboard.charts.style import METHODS
from tests.helpers.made_up_comparisons import entry, training

CA, ASR, RA = RATES


def named(chart, part=""):
    return [trace for trace in chart.figure["data"] if part in trace["name"]]


def test_one_panel_per_rate_and_one_name_per_group():
    runs = [entry("ngf"), entry("sgd", asr=0.8), entry("sgd", seed=1, asr=0.9)]
    chart = overlay_chart(runs, [ASR, CA], means=False)
    json.dumps(chart.figure, allow_nan=False)
    assert [trace["yaxis"] for trace in chart.figure["data"]] == ["y"] * 3 + ["y2"] * 3
    assert [trace["name"] for trace in chart.figure["data"] if trace["showlegend"]] == [
        "NGF",
        "SGD",
    ]
    assert named(chart, "NGF")[0]["line"]["color"] == METHODS["ngf"].color
    assert chart.figure["layout"]["yaxis2"]["title"]["text"] == "Clean accuracy (%)"
    assert chart.finding == (
        "Attack success rate first at or below 10 %: NGF · seed 0 at step 100; never: SGD · seed 0 "
        "and SGD · seed 1. Lowest clean accuracy on the way: 98.0 % at step 100 for NGF · seed 0, "
        "98.0 % at step 100 for SGD · seed 0 and 98.0 % at step 100 for SGD · seed 1."
    )
    assert len(chart.rows) == 33


def test_the_mean_of_a_group_lies_in_its_interval_over_thin_runs():
    values = [0.0, 0.2, 0.7]
    runs = [entry(seed=seed, asr=asr) for seed, asr in enumerate(values)]
    chart = overlay_chart([*runs, entry("sgd", asr=0.8)], [ASR], means=True)
    *thin, band, mean = named(chart, "NGF")
    assert [trace["line"]["width"] for trace in thin] == [1.0] * 3
    assert mean["y"][-1] == pytest.approx(30.0)
    low, high = t_interval(values)
    assert low < 0
    assert band["y"][100] == pytest.approx(100 * min(high, 1.0))
    assert band["y"][101] == 0.0  # as far as a rate can go
    (sgd,) = named(chart, "SGD")  # a single run has no mean
    assert sgd["line"]["width"] > 2
    assert "the mean of NGF (n = 3 purification seeds of one model)" in chart.finding


def test_a_mean_ends_with_the_shortest_run_and_leaves_out_what_diverged():
    runs = [entry(), entry(seed=1, steps=50), entry(seed=2, diverged=20)]
    chart = overlay_chart(runs, [ASR], means=True)
    mean = named(chart, "NGF")[-1]
    assert mean["x"][-1] == 50
    assert "n = 2 purification seeds" in mean["hovertemplate"]
    assert "NGF · seed 2 diverged at step 20 and ended there, and counts for no mean." in (
        chart.finding
    )
    assert "50 to 100 steps; a mean ends with the shortest run of its group." in chart.finding


def test_runs_of_one_seed_have_a_mean_without_an_interval():
    runs = [entry(layer="a"), entry(layer="b", asr=0.5)]
    chart = overlay_chart(runs, [ASR], means=True)
    assert not named(chart, "interval")
    assert "n = 1 purification seed of one model" in chart.finding


def test_what_has_no_curve_and_no_backdoor_is_told():
    runs = [entry("fine_pruning", steps=0), entry(asr=None), training()]
    chart = overlay_chart(runs, [ASR, CA], means=False)
    assert [trace["yaxis"] for trace in chart.figure["data"]] == ["y2"]
    assert chart.finding == (
        "Lowest clean accuracy on the way: 98.0 % at step 100 for NGF · seed 0. No curve, for "
        "nothing was measured step by step: Fine-Pruning · seed 0 and Backdoored. No attack "
        "success rate, for it has no backdoor: NGF · seed 0."
    )


def test_of_many_curves_the_sentence_names_the_ends():
    runs = [entry(seed=seed, asr=0.04 * seed) for seed in range(6)]
    chart = overlay_chart(runs, [ASR, RA], means=False)
    assert chart.finding == (
        "Of 6 curves, 3 come to an attack success rate of 10 % or less, the first at step 90 (NGF "
        "· seed 0), the last at step 100 (NGF · seed 1). Highest robust accuracy on the way, over "
        "6 curves: from 80.0 % to 100.0 %."
    )


def test_nothing_measured_is_an_empty_figure():
    assert overlay_chart([training()], [ASR], means=True).figure["data"] == []
