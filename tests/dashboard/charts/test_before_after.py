"""Before and after: whose interval stands where, and a sentence true of one, few and many."""

from __future__ import annotations

import json

import pytest

from dashboard.charts.before_after import before_after_chart, dots
from dashboard.charts.rates import RATES
from ngf.evaluate import wilson
from tests.helpers.made_up_comparisons import N_TRIGGERED, entry, training

CA, ASR, _ = RATES


def test_a_model_has_the_wilson_interval_of_its_counts():
    found = dots([entry(asr=0.01)], ASR, means=False)
    chart = before_after_chart(found, ASR)
    json.dumps(chart.figure, allow_nan=False)
    low, high = wilson(18, N_TRIGGERED)
    after = chart.figure["data"][-1]
    assert after["error_x"]["array"] == [pytest.approx(100 * (high - 0.01), abs=1e-3)]
    assert after["error_x"]["arrayminus"] == [pytest.approx(100 * (0.01 - low), abs=1e-3)]
    assert after["marker"]["symbol"] == ["diamond"]
    assert chart.figure["data"][1]["marker"]["symbol"] == ["diamond-open"]
    assert chart.finding == (
        "The attack success rate went from 100.0 % to 1.0 % (95 % interval 0.6 to 1.6; "
        "n = 1,800 images) for NGF · seed 0."
    )


def test_a_group_has_the_interval_over_seeds():
    runs = [entry(seed=seed, asr=asr) for seed, asr in enumerate((0.1, 0.2, 0.3))]
    found = dots([*runs, entry("sgd", asr=0.8)], ASR, means=True)
    assert [(dot.name, dot.count) for dot in found] == [
        ("NGF", "n = 3 purification seeds of one model"),
        ("SGD", "n = 1 purification seed of one model"),
    ]
    assert found[0].after == pytest.approx(0.2) and found[1].low is None
    assert "to 80.0 % (n = 1 purification seed of one model) for SGD" in (
        before_after_chart(found, ASR).finding
    )


def test_of_many_the_lowest_and_the_highest_are_named():
    found = dots([entry(seed=seed, asr=0.1 * seed) for seed in range(5)], ASR, means=False)
    said = before_after_chart(found, ASR).finding
    assert said.startswith(
        "The attack success rate after purification is lowest for NGF · seed 0, 0.0 % (95 %"
    )
    assert "highest for NGF · seed 4, 40.0 % (" in said


def test_a_training_alone_shows_what_it_is():
    found = dots([training(), training("m1", asr=None)], CA, means=False)
    chart = before_after_chart(found, CA)
    (before,) = chart.figure["data"]
    assert len(before["error_x"]["array"]) == 2 and min(before["error_x"]["array"]) > 0
    assert chart.finding.startswith("Nothing here was purified; clean accuracy as it is: lowest")
    assert [dot.name for dot in dots([training("m1", asr=None)], ASR, means=False)] == []


def test_what_diverged_has_nothing_after_and_counts_for_no_mean():
    runs = [entry(diverged=3), entry(seed=1, asr=0.5)]
    alone = dots(runs[:1], ASR, means=False)
    chart = before_after_chart(alone, ASR)
    assert [dot.after for dot in alone] == [None]
    assert len(chart.figure["data"]) == 1 and "error_x" not in chart.figure["data"][0]
    (group,) = dots(runs, ASR, means=True)
    assert (group.after, group.count) == (0.5, "n = 1 purification seed of one model")
