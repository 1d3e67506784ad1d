"""A number with its interval; Holm; sentences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from evidence.statistics.estimates import (
    Count,
    Estimate,
    auc_sentence,
    expanded_tails,
    from_draws,
    from_t,
    holm,
    percent_sentence,
    ratio_sentence,
)

COUNT = Count(attacks=14, models=42, benign=12, purification_seeds=5)


def of(p: float | None) -> Estimate:
    return Estimate(value=1.5, low=1.2, high=1.9, p=p, estimator="none", count=COUNT)


def test_a_ratio_has_the_t_interval_of_its_logarithm():
    values = np.log([1.2, 1.9, 1.4, 1.1])
    found = from_t(
        values.mean(), stats.sem(values), 3, estimator="t", count=Count(models=4), ratio=True
    )
    low, high = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
    assert (found.low, found.high) == pytest.approx((math.exp(low), math.exp(high)))
    assert found.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert found.excludes(0.9) and not found.excludes(1.3)


def test_holm_is_that_of_statsmodels():
    rng = np.random.default_rng(0)
    for _ in range(2):  # theirs collects garbage each time
        p = np.round(rng.uniform(0, 0.2, 9), 2)  # with ties
        found = holm({str(k): of(float(one)) for k, one in enumerate(p)})
        theirs = multipletests(p, method="holm")[1]
        assert [found[str(k)].p_adjusted for k in range(9)] == pytest.approx(theirs)


def test_holm_of_none_and_of_what_has_no_p():
    assert holm({}) == {}
    for p in (None, math.nan):
        with pytest.raises(ValueError, match="no p-value of trace"):
            holm({"trace": of(p), "other": of(0.1)})


def test_an_expanded_interval_widens_as_t_does():
    """Of a normal bootstrap distribution with the sample's own spread, it is the t interval."""
    low, high = expanded_tails(6)
    half = stats.norm.ppf(high) * math.sqrt(5 / 6)  # the bootstrap's error is too small by that
    assert half == pytest.approx(stats.t.ppf(0.975, 5)) and low == pytest.approx(1 - high)
    draws = np.linspace(0, 1, 1001)
    found = from_draws(0.5, draws, 6, estimator="bootstrap", count=COUNT)
    assert (found.low, found.high) == pytest.approx((low, high))
    with pytest.raises(ValueError, match="One unit"):
        expanded_tails(1)


def test_sentences_name_what_a_number_is_of():
    told = "n = 14 attacks, 42 models, 12 benign models, 5 purification seeds"
    assert str(COUNT) == told
    assert str(Count(attacks=1, models=1)) == "n = 1 attack, 1 model"
    assert ratio_sentence("λmax", "benign models", of(0.0004)) == (
        f"λmax: 1.50 times that of benign models (95 % interval 1.20 to 1.90, p < 0.001; {told})."
    )
    (adjusted,) = holm({"a": of(0.03)}).values()
    assert "Holm's p = 0.03;" in ratio_sentence("λmax", "before", adjusted)
    assert "150.0 % (95 % interval 120.0 to 190.0;" in percent_sentence("ASR", of(None))
    assert "AUC 1.50 (95 % interval 1.20 to 1.90; n" in auc_sentence("λmax", of(None))
