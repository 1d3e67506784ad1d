"""Paired differences, against SciPy: what is a pair, what is left out, and what may be said."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from dashboard.charts.differences import differences_chart, pair_up, signed
from dashboard.charts.rates import RATES
from tests.helpers.made_up_comparisons import entry, training

CA, ASR, _ = RATES


def race(first, second, models=("m0",)):
    """Both methods on the same models and seeds."""
    runs = []
    for model in models:
        for seed, (one, other) in enumerate(zip(first, second, strict=True)):
            runs += [entry("sgd", seed, model, asr=one), entry("ngf", seed, model, asr=other)]
    return runs


def test_the_mean_difference_has_the_interval_of_the_paired_t_test():
    rng = np.random.default_rng(3)
    sgd = rng.uniform(0.4, 0.9, 6)
    ngf = np.clip(sgd - rng.normal(0.3, 0.1, 6), 0, 1)
    runs = race(sgd, ngf)
    paired = pair_up(runs, "method", "sgd", "ngf")
    mean = paired.mean(ASR)
    ends = [[one.after["asr"] for one in runs[k::2]] for k in (0, 1)]
    test = stats.ttest_rel(ends[1], ends[0])
    interval = test.confidence_interval(0.95)
    assert mean.value == pytest.approx(np.mean(ends[1]) - np.mean(ends[0]))
    assert (mean.low, mean.high) == pytest.approx((interval.low, interval.high))
    chart = differences_chart(paired)
    json.dumps(chart.figure, allow_nan=False)
    assert "6 pairs; n = 6 purification seeds of one model" in chart.finding
    assert "does not hold zero, so NGF leaves less of the attack." in chart.finding
    assert len(chart.rows) == 6


def test_the_verdict_is_that_of_the_test():
    """Over simulated races without any difference, one in twenty intervals leaves out zero."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(300):
        paired = pair_up(
            race(rng.uniform(0.3, 0.7, 5), rng.uniform(0.3, 0.7, 5)), "method", "sgd", "ngf"
        )
        mean = paired.mean(ASR)
        wrong += not mean.low <= 0 <= mean.high
        said = differences_chart(paired).finding.split(". ")[0]
        assert ("the interval holds zero" in said) == (mean.low <= 0 <= mean.high)
    assert 5 <= wrong <= 28


def test_one_pair_says_nothing_of_others():
    said = differences_chart(pair_up(race([0.9], [0.1]), "method", "sgd", "ngf")).finding
    assert said.startswith(
        "Attack success rate at the end, NGF minus SGD: −80.0 points (1 pair; n = 1 purification "
        "seed of one model). A mean over one purification seed has no interval"
    )
    assert "zero" not in said


def test_several_models_count_once_each():
    paired = pair_up(race([0.9, 0.8], [0.1, 0.1], ("m0", "m1", "m2")), "method", "sgd", "ngf")
    assert (paired.mean(ASR).lanes, paired.mean(ASR).count) == (6, "n = 3 models")


def test_who_has_no_partner_or_no_model_is_named():
    runs = [
        *race([0.9], [0.1]),
        entry("sgd", 7),
        entry("sgd", 8, diverged=4),
        entry("adam", 0),
        training(),
    ]
    paired = pair_up(runs, "method", "sgd", "ngf")
    assert [one.name for one in paired.alone] == ["SGD · seed 7"]
    assert differences_chart(paired).finding.endswith(
        "Left out without a partner: 1 (SGD · seed 7). Left out because they diverged: 1 (SGD · "
        "seed 8)."
    )


def test_benign_models_differ_in_clean_accuracy_alone():
    runs = [entry("sgd", asr=None, ca=0.95), entry("ngf", asr=None, ca=0.98)]
    paired = pair_up(runs, "method", "sgd", "ngf")
    assert paired.mean(ASR) is None
    chart = differences_chart(paired)
    assert chart.figure["layout"]["yaxis"]["ticktext"] == ["Clean accuracy"]
    assert "+3.0 points" in chart.finding and "Attack" not in chart.finding


def test_another_field_pairs_within_a_method():
    runs = [
        entry(layer="last", asr=0.5),
        entry(layer="all", asr=0.1),
        entry("sgd", layer="all", asr=0.9),
    ]
    paired = pair_up(runs, "layer", "last", "all")
    assert len(paired.pairs) == 1 and [one.name for one in paired.alone] == ["SGD · seed 0"]
    assert paired.mean(ASR).value == pytest.approx(-0.4)


def test_a_sign_stands_before_what_is_not_zero():
    assert [signed(share) for share in (-0.0123, 0.0, -0.0001, 0.5)] == [
        "−1.2",
        "0.0",
        "0.0",
        "+50.0",
    ]
