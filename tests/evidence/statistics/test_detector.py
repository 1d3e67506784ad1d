"""A detector that has not seen the attack, against exact definitions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.stats import mannwhitneyu

from evidence.statistics.detector import (
    auc,
    auc_interval,
    delong_variance,
    learned,
    leave_one_attack_out,
    logistic,
    table,
)
from tests.helpers.simulated_sharpness import World, models

SEED = 4


def test_an_auc_is_that_of_all_pairs():
    rng = np.random.default_rng(0)
    for _ in range(20):
        ours, theirs = rng.integers(0, 5, 6), rng.integers(0, 5, 9)  # many ties
        pairs = (ours[:, None] > theirs) + (ours[:, None] == theirs) / 2
        assert auc(ours, theirs) == pytest.approx(pairs.mean())
        u = mannwhitneyu(ours, theirs, method="asymptotic").statistic
        assert auc(ours, theirs) == pytest.approx(u / 54)
    assert auc([1, 1], [1, 1, 1]) == 0.5
    assert (auc([2.0], [1.0]), auc([0.0], [1.0])) == (1.0, 0.0)
    with pytest.raises(ValueError, match="both kinds"):
        auc([], [1.0])
    with pytest.raises(ValueError, match="not finite"):
        auc([np.nan], [1.0])


def test_its_interval_does_not_shrink_at_the_ends():
    for value in (0.0, 0.3, 0.5, 0.9, 1.0):
        low, high = auc_interval(value, 5, 12)
        assert 0 <= low <= value <= high <= 1 and high - low > 0.2
        assert auc_interval(1 - value, 5, 12) == pytest.approx((1 - high, 1 - low), abs=1e-6)
    narrow, wide = auc_interval(0.8, 50, 120), auc_interval(0.8, 5, 12)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_its_interval_covers():
    rng = np.random.default_rng(1)
    truth, hits = 0.856, []  # P(N(1.5, 1) > N(0, 1)) = Phi(1.5 / sqrt 2)
    for _ in range(300):
        low, high = auc_interval(auc(rng.normal(1.5, 1, 8), rng.normal(0, 1, 12)), 8, 12)
        hits.append(low <= truth <= high)
    assert 0.9 <= np.mean(hits) <= 0.99


def test_delongs_variance_is_that_of_many_samples():
    rng = np.random.default_rng(2)
    drawn = [(rng.normal(1, 1, 12), rng.normal(0, 1, 15)) for _ in range(400)]
    real = np.var([auc(*pair) for pair in drawn])
    assert np.mean([delong_variance(*pair) for pair in drawn]) == pytest.approx(real, rel=0.15)
    # and Newcombe's interval is about as wide where both hold
    low, high = auc_interval(0.76, 12, 15)
    assert (high - low) / 3.92 == pytest.approx(np.sqrt(real), rel=0.15)
    with pytest.raises(ValueError, match="two scores of each"):
        delong_variance(np.array([1.0]), np.array([0.0, 1.0]))


def test_logistic_regression_is_that_of_statsmodels():
    rng = np.random.default_rng(3)
    z = rng.normal(size=(60, 2))
    positive = rng.uniform(size=60) < 1 / (1 + np.exp(-z @ [1.0, -0.5]))
    theirs = sm.Logit(positive.astype(float), sm.add_constant(z)).fit(disp=0).params[1:]
    assert logistic(z, positive, np.ones(60), penalty=1e-9) == pytest.approx(theirs, abs=1e-4)
    separable = logistic(z, z[:, 0] > 0, np.ones(60))
    assert np.isfinite(separable).all() and separable[0] > 2 * abs(separable[1])


def test_direction_and_threshold_come_from_what_was_seen():
    x = np.array([[3.0], [4], [5], [1], [1.5], [2]])
    backdoored = np.array([False] * 3 + [True] * 3)
    rule = learned(x, backdoored, np.array(["none"] * 3 + ["a"] * 3))
    assert (rule.score(x[backdoored]) > rule.threshold).all()  # lower is backdoored here
    assert (rule.score(x[~backdoored]) < rule.threshold).all()
    assert rule.score(np.array([[2.4]]))[0] > rule.threshold > rule.score(np.array([[2.6]]))[0]
    with pytest.raises(ValueError, match="same for all"):
        learned(np.ones((6, 1)), backdoored, np.array(["none"] * 3 + ["a"] * 3))


def test_an_attack_that_goes_the_other_way_is_found_out():
    """Its AUC is below 1/2: its own direction was not used."""
    frame, _ = models(World(attacks=4, seeds=3, effect=2.0, between=0.0), _rng())
    odd = frame["attack"] == "a3"
    frame.loc[odd, "sharpness"] *= np.exp(-4)
    found = leave_one_attack_out(frame, ["sharpness"])
    assert found.auc["a0"].value == 1 and found.auc["a3"].value == 0
    assert found.found["a3"] == 0 and found.found["a0"] > 0.9
    assert found.mean.value == pytest.approx(0.75) and found.false_alarms < 0.2
    assert found.mean.low < 0.6 and (found.mean.count.benign, found.mean.count.attacks) == (12, 4)


def test_a_measure_that_tells_nothing_has_half():
    values = []
    for seed in range(6):
        frame, _ = models(World(effect=0.0, between=0.0), np.random.default_rng(seed))
        values.append(leave_one_attack_out(frame, ["sharpness"]).mean.value)
    assert np.mean(values) == pytest.approx(0.5, abs=0.12)


def test_equal_scores_count_half_and_few_measures_join():
    frame, _ = models(World(attacks=3, seeds=3, effect=1.0), _rng())
    frame["coarse"] = np.where(frame["sharpness"] > np.exp(3.5), 2.0, 1.0)
    frame["noise"] = np.exp(_rng().normal(size=len(frame)))
    coarse, both = (
        leave_one_attack_out(frame, names) for names in (["coarse"], ["sharpness", "noise"])
    )
    pairs = frame.groupby("attack")["coarse"]
    benign = pairs.get_group("none").to_numpy()
    exact = auc(pairs.get_group("a0").to_numpy(), benign)
    assert coarse.auc["a0"].value == pytest.approx(exact)
    assert both.mean.value > 0.9 and both.measures == ("sharpness", "noise")
    rows = table([coarse, both])
    assert isinstance(rows, pd.DataFrame) and set(rows["measures"]) == {
        "coarse",
        "sharpness + noise",
    }


def test_too_little_is_refused():
    frame, _ = models(World(attacks=2, seeds=1, benign=3), _rng())
    assert len(leave_one_attack_out(frame, ["sharpness"]).auc) == 2
    with pytest.raises(ValueError, match="1 attacks and 3 benign"):
        leave_one_attack_out(frame[frame["attack"] != "a1"], ["sharpness"])
    with pytest.raises(ValueError, match="No measure"):
        leave_one_attack_out(frame, [])


def _rng() -> np.random.Generator:
    return np.random.default_rng(SEED)
