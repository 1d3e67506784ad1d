"""Backdoored against benign, over attacks, seeds and measures, by simulation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from evidence.statistics.hierarchy import TOGETHER, effects, table
from tests.helpers.simulated_sharpness import World, coverage, models

SMALL = World(attacks=5, seeds=3, benign=6)


def covered(world: World, draws: int) -> tuple[float, float]:
    """Of the overall effect and of the attacks' own."""
    own: list[bool] = []

    def one(rng: np.random.Generator) -> list[bool]:
        frame, true = models(world, rng)
        (found,) = effects(frame, ["sharpness"])
        own.extend(not found.attacks[name].excludes(np.exp(true[name])) for name in true)
        return [not found.overall.excludes(np.exp(world.effect))]

    return coverage(draws, one), float(np.mean(own))


def test_intervals_cover_the_known_effect():
    overall, attacks = covered(SMALL, 40)
    assert 0.9 <= overall <= 1.0  # 40 draws: two standard errors are 7 points
    assert 0.9 <= attacks <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize(
    "world",
    [
        World(),
        World(attacks=14, seeds=3, benign=17),
        World(attacks=14, seeds=3, benign=3),
        World(attacks=3, seeds=3, benign=5),
        World(between=0.0),
        World(shared=0.3),
        World(benign_noise=0.4),
        World(benign_noise=0.1),
    ],
    ids=["planned", "many", "3 benign", "3 attacks", "alike", "by seed", "spread", "narrow"],
)
def test_coverage_is_90_to_99_percent(world):
    overall, attacks = covered(world, 300)
    assert 0.9 <= overall <= 0.99
    assert 0.88 <= attacks <= 0.99  # of shrunken ones: on average over attacks


def test_benign_models_are_counted_once():
    """One attack after the other with the same benign models is not more evidence than there is:
    the interval does not fall below what the benign mean leaves open.
    """
    frame, _ = models(World(attacks=40, seeds=4, benign=4, between=0.0, shared=0.0), _rng())
    (found,) = effects(frame, ["sharpness"])
    benign = np.log(frame.loc[frame["attack"] == "none", "sharpness"])
    width = np.log(found.overall.high / found.overall.low)
    spread = np.log(frame[frame["attack"] != "none"].groupby("attack")["sharpness"].first()).std()
    assert width > 2 * 1.96 * 0.7 * spread / np.sqrt(len(benign))
    pairs = 40 * 4  # as if each pair were an experiment of its own
    assert width > 3 * 2 * 1.96 * spread * np.sqrt(2 / pairs)


def test_one_model_an_attack_is_welch_like():
    """Without repeats an attack is one value: the mean of attacks against the benign mean."""
    frame, _ = models(World(attacks=9, seeds=1, benign=9, shared=0.0), _rng())
    (found,) = effects(frame, ["sharpness"])
    log = np.log(frame["sharpness"])
    ours, theirs = log[frame["attack"] != "none"], log[frame["attack"] == "none"]
    assert np.log(found.overall.value) == pytest.approx(ours.mean() - theirs.mean(), abs=0.02)
    assert found.overall.p == pytest.approx(stats.ttest_ind(ours, theirs).pvalue, rel=0.9)


def test_an_attack_is_shrunken_towards_all():
    frame, _ = models(replace(SMALL, between=0.5), _rng())
    (found,) = effects(frame, ["sharpness"])
    log = np.log(frame["sharpness"]).groupby(frame["attack"]).mean()
    mean = np.log(found.overall.value)
    for name, one in found.attacks.items():
        raw = log[name] - log["none"]
        assert abs(np.log(one.value) - mean) < abs(raw - mean) + 0.1
        assert (one.count.attacks, one.count.models, one.count.benign) == (1, 3, 6)
    assert found.between_attacks > 1.2


def test_measures_are_adjusted_together_and_taken_together():
    frame, _ = models(SMALL, _rng())
    frame["other"] = frame["sharpness"] ** 2
    frame["none of it"] = np.exp(np.random.default_rng(1).normal(size=len(frame)))
    one, two, three, all_of_them = effects(frame, ["sharpness", "other", "none of it"])
    assert one.overall.p == pytest.approx(two.overall.p, rel=1e-3)
    assert one.overall.p_adjusted == pytest.approx(3 * one.overall.p, rel=1e-3)
    assert three.overall.p_adjusted is not None
    assert two.overall.value == pytest.approx(one.overall.value**2, rel=1e-3)
    assert (all_of_them.measure, all_of_them.overall.p_adjusted) == (TOGETHER, None)
    rows = table([one, two])
    assert len(rows) == 2 * (1 + 5) and set(rows["attack"]) >= {"all attacks", "a0"}


def test_seeds_may_be_missing_and_too_little_is_refused():
    frame, _ = models(SMALL, _rng())
    fewer = frame.drop(frame[(frame["attack"] == "a1") & (frame["seed"] > 0)].index)
    (found,) = effects(fewer, ["sharpness"])
    assert found.attacks["a1"].count.models == 1
    wide, narrow = (found.attacks[name] for name in ("a1", "a2"))
    assert wide.high / wide.low > narrow.high / narrow.low
    with pytest.raises(ValueError, match="1 attacks and 6 benign"):
        effects(frame[frame["attack"].isin(["none", "a0"])], ["sharpness"])
    with pytest.raises(ValueError, match="5 attacks and 1 benign"):
        effects(frame[(frame["attack"] != "none") | (frame["seed"] == 0)], ["sharpness"])
    with pytest.raises(ValueError, match="not above 0"):
        effects(frame.assign(sharpness=0.0), ["sharpness"])
    with pytest.raises(ValueError, match="No measure"):
        effects(pd.DataFrame(), [])


def _rng() -> np.random.Generator:
    return np.random.default_rng(5)
