"""Sharpness that is loss comes out as loss, and sharpness that is not does not."""

from __future__ import annotations

import numpy as np
import pytest

from evidence.statistics import loss
from evidence.statistics.hierarchy import effects
from tests.helpers.simulated_sharpness import World, coverage, finished, models, training

ONLY_LOSS = World(
    effect=0.0, slope=0.9, loss_effect=0.8, between=0.0, between_loss=0.2, noise=0.15, benign=14
)
NO_LOSS = World(effect=0.6, slope=0.0, loss_effect=0.8, between_loss=0.2, noise=0.15, benign=14)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# ---- mediation


def test_what_is_only_loss_comes_out_as_loss():
    frame, _ = models(ONLY_LOSS, rng())
    (raw,) = effects(frame, ["sharpness"])
    found = loss.mediation(frame, "sharpness")
    assert raw.overall.low > 1  # sharper, as it is
    assert found.total.low > 1 and found.through_loss.low > 1
    assert not found.direct.excludes(1)
    assert found.share is not None and found.share.value == pytest.approx(1, abs=0.25)
    assert not found.share.excludes(1) and found.share.excludes(0)


def test_what_is_not_loss_does_not():
    frame, _ = models(NO_LOSS, rng())
    found = loss.mediation(frame, "sharpness")
    assert found.direct.low > 1 and not found.through_loss.excludes(1)
    assert found.share is not None and found.share.value == pytest.approx(0, abs=0.25)
    assert not found.share.excludes(0) and found.share.excludes(1)


def test_total_is_the_product_of_its_parts_and_least_squares():
    frame, _ = models(World(attacks=4, seeds=3, slope=0.5, loss_effect=0.4), rng(2))
    found = loss.mediation(frame, "sharpness", draws=100)
    assert found.total.value == pytest.approx(found.through_loss.value * found.direct.value)
    log = np.log(frame[["loss", "sharpness"]]).groupby(frame["attack"]).mean()
    ratio = log.drop("none").mean() - log.loc["none"]  # each attack counts once
    assert np.log(found.total.value) == pytest.approx(ratio["sharpness"])
    assert np.log(found.through_loss.value) == pytest.approx(found.slope.value * ratio["loss"])
    again = loss.mediation(frame, "sharpness", draws=100)
    assert again == found and "Not a causal share" in found.caveat


def test_no_share_of_nothing():
    frame, _ = models(World(effect=0.0, slope=0.0, loss_effect=0.5), rng(1))
    assert loss.mediation(frame, "sharpness").share is None


def direct_and_through(world: World, draws: int) -> float:
    def one(generator: np.random.Generator) -> list[bool]:
        found = loss.mediation(models(world, generator)[0], "sharpness", draws=400)
        truth = (world.effect, world.slope * world.loss_effect)
        parts = (found.direct, found.through_loss)
        return [not part.excludes(np.exp(of)) for part, of in zip(parts, truth)]

    return coverage(draws, one)


def test_intervals_of_a_mediation_cover():
    assert 0.88 <= direct_and_through(ONLY_LOSS, 40) <= 1.0


@pytest.mark.slow
@pytest.mark.parametrize("world", [ONLY_LOSS, NO_LOSS, World(slope=0.9, loss_effect=0.5)])
def test_coverage_of_a_mediation_is_90_to_99_percent(world):
    assert 0.9 <= direct_and_through(world, 400) <= 0.99


# ---- at matched loss


def matched_cover(
    effect: float,
    draws: int,
    trainings: int = 12,
    points: int = 8,
    attacks: int = 8,
    seeds: int = 4,
) -> float:
    def one(generator: np.random.Generator) -> list[bool]:
        reference, _ = training(generator, trainings=trainings, points=points)
        frame = finished(generator, effect, attacks=attacks, seeds=seeds)
        found = loss.at_matched_loss(reference, frame, "sharpness")
        return [found.overall is not None and not found.overall.excludes(np.exp(effect))]

    return coverage(draws, one)


def test_intervals_at_matched_loss_cover():
    assert 0.88 <= matched_cover(0.3, 30, trainings=6, points=5, attacks=5, seeds=2) <= 1.0


@pytest.mark.slow
@pytest.mark.parametrize("effect", [0.0, 0.3])
def test_coverage_at_matched_loss_is_90_to_99_percent(effect):
    assert 0.9 <= matched_cover(effect, 300) <= 0.99


def test_only_what_is_not_loss_is_left_at_matched_loss():
    reference, _ = training(rng())
    same = loss.at_matched_loss(reference, finished(rng(1), 0.0), "sharpness")
    more = loss.at_matched_loss(reference, finished(rng(1), 0.7), "sharpness")
    assert same.overall is not None and more.overall is not None
    assert not same.overall.excludes(1) and more.overall.low > 1.3
    assert set(more.attacks) == {f"a{k}" for k in range(8)}
    assert more.overall.count.benign == 12


def test_a_loss_that_no_benign_training_has_is_not_compared():
    reference, _ = training(rng())
    frame = finished(rng(1), 0.0)
    frame.loc[frame["attack"] == "a3", "loss"] = 40.0
    found = loss.at_matched_loss(reference, frame, "sharpness")
    assert [of[:2] for of in found.outside] == [("a3", seed) for seed in range(4)]
    assert "a3" not in found.attacks and found.high < 1
    assert found.told.startswith("28 of 32 backdoored models (7 attacks)")
    none = loss.at_matched_loss(reference, frame.assign(loss=40.0), "sharpness")
    assert none.overall is None and "not drawn on beyond" in none.told
    told = loss.sentence("λmax", found.overall, none, loss.mediation(*_final()))
    assert "no comparison at the same clean loss" in told and "n = 7 attacks, 28 models" in told


def test_a_reference_must_be_benign_and_have_trainings():
    reference, _ = training(rng(), trainings=2)
    with pytest.raises(ValueError, match="2 benign trainings"):
        loss.at_matched_loss(reference, finished(rng(), 0.0), "sharpness")
    frame = finished(rng(), 0.0)
    frame.loc[0, "attack"] = "none"
    with pytest.raises(ValueError, match="belong to the reference"):
        loss.at_matched_loss(reference, frame, "sharpness")
    with pytest.raises(ValueError, match="loss that is not above 0"):
        loss.at_matched_loss(reference, finished(rng(), 0.0).assign(loss=0.0), "sharpness")


def _final() -> tuple:
    return models(ONLY_LOSS, rng())[0], "sharpness"
