"""What purification changes, raw and at matched loss or accuracy, by simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from evidence.statistics.purification import change_at_matched, changes
from tests.helpers.simulated_sharpness import coverage, curve, finished, training

EFFECT = -0.3


def purified(
    rng: np.random.Generator, before: pd.DataFrame, effect: float, loss: float = 0.0, seeds: int = 3
) -> pd.DataFrame:
    """Log sharpness lower by -effect at the same loss, and a log loss higher by `loss`."""
    rows = []
    own = {attack: rng.normal(0, 0.1) for attack in before["attack"].unique()}
    for model in before.itertuples(index=False):
        off = np.log(model.sharpness) - curve(np.log(model.loss)) + rng.normal(0, 0.1)
        for seed in range(seeds):
            at = np.log(model.loss) + loss + rng.normal(0, 0.1)
            log = curve(at) + off + effect + own[model.attack] + rng.normal(0, 0.1)
            rows.append((model.attack, model.seed, seed, np.exp(at), np.exp(log)))
    columns = ["attack", "seed", "purification_seed", "loss", "sharpness"]
    return pd.DataFrame(rows, columns=columns)


def world(seed: int, effect: float, loss: float) -> tuple[pd.DataFrame, ...]:
    rng = np.random.default_rng(seed)
    before = finished(rng, 0.2, attacks=5, seeds=3)
    return training(rng, points=6)[0], before, purified(rng, before, effect, loss)


def test_intervals_of_a_change_cover():
    def one(rng: np.random.Generator) -> list[bool]:
        before = finished(rng, 0.2, attacks=4, seeds=2)
        after = purified(rng, before, EFFECT, seeds=2)
        (found,) = changes(before, after, ["sharpness"])
        return [not found.excludes(np.exp(EFFECT))]

    assert 0.88 <= coverage(25, one) <= 1.0


@pytest.mark.slow
def test_coverage_of_a_change_is_90_to_99_percent():
    def one(rng: np.random.Generator) -> list[bool]:
        reference, before = training(rng, points=6)[0], finished(rng, 0.2, attacks=6, seeds=3)
        after = purified(rng, before, EFFECT, 0.2)
        found = change_at_matched(reference, before, after, "sharpness").after_to_before
        return [found is not None and not found.excludes(np.exp(EFFECT))]

    assert 0.9 <= coverage(150, one) <= 0.99


def test_repeating_a_purification_is_not_another_model():
    """With models alike in size, the effect has the t interval over attacks' means."""
    rng = np.random.default_rng(1)
    before = finished(rng, 0.0, attacks=6, seeds=2)
    shift = {f"a{k}": rng.normal(0, 0.8) for k in range(6)}
    after = purified(rng, before, 0.0)
    after["sharpness"] *= np.exp(after["attack"].map(shift))
    (found,) = changes(before, after, ["sharpness"])
    both = after.merge(before, on=["attack", "seed"], suffixes=("", "_before"))
    ratio = np.log(both["sharpness"] / both["sharpness_before"])
    means = ratio.groupby(both["attack"]).mean()
    low, high = stats.t.interval(0.95, 5, means.mean(), stats.sem(means))
    assert (np.log(found.low), np.log(found.high)) == pytest.approx((low, high), rel=0.05)
    assert found.df == pytest.approx(5, abs=0.2)
    assert str(found.count) == "n = 6 attacks, 12 models, 3 purification seeds"


def test_measures_are_adjusted_together():
    _, before, after = world(0, EFFECT, 0.0)
    before["other"], after["other"] = 1.0, np.exp(np.random.default_rng(0).normal(size=len(after)))
    one, two = changes(before, after, ["sharpness", "other"])
    assert one.p_adjusted == pytest.approx(2 * one.p) and two.p_adjusted == pytest.approx(two.p)


def test_a_change_that_is_only_loss_is_none_at_matched_loss():
    reference, before, after = world(1, 0.0, 0.5)
    (raw,) = changes(before, after, ["sharpness"])
    found = change_at_matched(reference, before, after, "sharpness")
    assert raw.low > 1.2
    assert found.after_to_before is not None and found.before_to_benign is not None
    assert not found.after_to_before.excludes(1)
    assert found.after_to_before.value < raw.value
    assert found.after_to_benign is not None
    assert found.after_to_benign.value == pytest.approx(
        found.after_to_before.value * found.before_to_benign.value
    )


def test_a_change_that_is_not_loss_stays():
    reference, before, after = world(2, -0.6, 0.5)
    (raw,) = changes(before, after, ["sharpness"])
    found = change_at_matched(reference, before, after, "sharpness").after_to_before
    assert found is not None and found.high < 0.8 and found.value < raw.value


def test_accuracy_is_matched_the_same_way():
    reference, before, after = world(1, -0.6, 0.5)
    for frame in (reference, before, after):
        frame["ca"] = np.clip(1 - frame["loss"] / 4, 0, 1)
    found = change_at_matched(reference, before, after, "sharpness", by="ca")
    assert found.after_to_before is not None and found.after_to_before.high < 0.8
    assert 0.5 < found.low < found.high <= 1 and "range of ca" in found.told
    with pytest.raises(ValueError, match="by loss or ca, not by epoch"):
        change_at_matched(reference, before, after, "sharpness", by="epoch")


def test_what_has_no_benign_counterpart_is_counted_and_left_out():
    reference, before, after = world(0, EFFECT, 0.0)
    after.loc[after["attack"] == "a0", "loss"] = 50.0
    found = change_at_matched(reference, before, after, "sharpness")
    assert found.left_out[1] >= 9 and found.after_to_before is not None
    nothing = change_at_matched(reference, before, after.assign(loss=50.0), "sharpness")
    assert nothing.after_to_before is None and "not drawn on beyond" in nothing.told


def test_a_model_that_was_not_measured_before_is_refused():
    _, before, after = world(0, EFFECT, 0.0)
    with pytest.raises(ValueError, match="a0 seed 0 was purified, and not measured before"):
        changes(before.iloc[1:], after, ["sharpness"])
    one = after["attack"] == "a0"
    with pytest.raises(ValueError, match="One attack"):
        changes(before, after[one], ["sharpness"])
    with pytest.raises(ValueError, match="No measure"):
        changes(before, after, [])
