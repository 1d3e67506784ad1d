"""Claims about removal: decided by intervals, on data whose answer is known."""

from __future__ import annotations

import pytest

from evidence import removal_claims
from evidence.removal_claims import IN_PART, NOT, OPEN, SUPPORTED, claims, side, verdict
from evidence.statistics.estimates import Count, Estimate
from tests.helpers.purification_rows import files, rows_of, usual

NAMES = ("at little cost", "better", "direction", "last", "draw", "augmentation")


def estimate(low: float, high: float, p_adjusted: float | None = None) -> Estimate:
    value = (low + high) / 2
    return Estimate(
        value=value, low=low, high=high, estimator="", count=Count(), p_adjusted=p_adjusted
    )


def decided(left=usual, **options) -> dict[str, dict]:
    """The claims, each by a word of it."""
    found = claims(rows_of(files(left, **options)))
    return {name: claim for name in NAMES for claim in found if name in claim["claim"]}


@pytest.fixture(scope="module")
def found() -> dict[str, dict]:
    return decided()


def test_a_side_is_that_of_the_interval() -> None:
    assert [side(estimate(*ends), -1) for ends in ((-2, -1), (-1, 1), (1, 2))] == [1, 0, -1]
    assert [side(estimate(*ends), 1) for ends in ((-2, -1), (-1, 1), (1, 2))] == [-1, 0, 1]
    assert side(estimate(1, 2, p_adjusted=0.2), 1) == 0, "one of many, and not the clear one"
    assert side(estimate(1, 2, p_adjusted=0.01), 1) == 1


def test_a_verdict_is_of_all_sides() -> None:
    assert [verdict(sides) for sides in ([1, 1], [1, -1], [1, 0], [0, -1], [0, 0])] == [
        SUPPORTED,
        IN_PART,
        IN_PART,
        NOT,
        OPEN,
    ]


def test_nothing_measured_claims_nothing() -> None:
    assert claims([]) == []
    assert claims(rows_of(files(models=1, how={})[:1])) == []


def test_verdicts_are_those_of_the_truth(found) -> None:
    verdicts = {name: claim["verdict"] for name, claim in found.items()}
    assert verdicts == {
        "at little cost": NOT,  # 15 to 19 % are left
        "better": SUPPORTED,
        "direction": SUPPORTED,
        "last": NOT,
        "draw": NOT,  # three draws of a standard deviation of a point
        "augmentation": SUPPORTED,
    }
    for claim in found.values():
        assert claim["answer"] == removal_claims.ANSWERS[claim["verdict"]]
        assert claim["effects"] and all(of["models"] == 9 for of in claim["effects"])
        assert "95 % interval" in claim["short"] and "9 models" in claim["short"]
        assert "3 purification seeds" in claim["short"]


def test_effects_are_those_that_were_put_in(found) -> None:
    (left, lost) = found["at little cost"]["effects"]
    assert left["value"] == pytest.approx(0.17, abs=0.02) and left["low"] > 0.1
    assert lost["value"] == pytest.approx(0.008, abs=1e-6)
    effects = {of["what"]: of for of in found["better"]["effects"]}
    swept = effects["NGF, one layer − SGD, all layers, at 1 point of clean accuracy"]
    assert swept["value"] == pytest.approx(-0.25, abs=0.02)
    assert "NGF, one layer − Adam, all layers, by rule" in effects
    (last,) = found["last"]["effects"]
    assert last["value"] == pytest.approx(0.45, abs=0.02)
    crossed = [of["value"] for of in found["augmentation"]["effects"][:2]]
    assert crossed == pytest.approx([0.5, 0.1], abs=0.02)


def test_the_other_way_round() -> None:
    def turned(method: str, how: str, times: float, attack: str) -> tuple[float, float]:
        asr, lost = usual(method, how, times, attack)
        worse = 0.5 if method.startswith("ngf") and "last" not in method else 0.0
        return asr + worse - 0.5 * ("last" in method), lost

    found = decided(turned)
    assert found["better"]["verdict"] == found["direction"]["verdict"] == NOT
    assert found["last"]["verdict"] == SUPPORTED
    assert found["augmentation"]["verdict"] != SUPPORTED, "now the optimizer decides more"


def test_what_is_removed_at_little_cost_is_supported() -> None:
    def gone(method: str, how: str, times: float, attack: str) -> tuple[float, float]:
        return 0.03, 0.005

    how = {"default": ("ngf, one layer",)}
    assert decided(gone, how=how)["at little cost"]["verdict"] == SUPPORTED
    dear = decided(lambda *of: (0.03, 0.05), how=how)["at little cost"]
    assert dear["verdict"] == NOT, "at a great cost"
    one = {"badnets": 0.02, "blend": 0.6, "wanet": 0.6}
    some = decided(lambda *of: (one[of[3]], 0.005), how=how)["at little cost"]
    assert some["verdict"] == IN_PART
    assert "for 1 of the 3 attacks with several models, clearly more for 2" in some["short"]


def test_a_lottery_is_a_range_beyond_ten_points() -> None:
    how = {"default": ("ngf, one layer",)}
    found = decided(lambda *of: (0.5, 0.005), noise=0.12, seeds=5, models=4, how=how)
    assert found["draw"]["verdict"] == SUPPORTED
    (spread,) = found["draw"]["effects"]
    assert spread["low"] > 0.1 and spread["purification_seeds"] == 5


def test_noise_leaves_it_open() -> None:
    same = decided(lambda *of: (0.4, 0.008 if of[1] != "sweep" else 0.01 * of[2]), noise=0.05)
    assert same["better"]["verdict"] in (OPEN, NOT, IN_PART)
    assert same["augmentation"]["verdict"] == OPEN


def test_a_divergence_is_told() -> None:
    rows = rows_of(files(how={"default": ("ngf, one layer",)}))
    rows[0] = {name: rows[0][name] for name in rows[0] if name not in ("ca", "asr", "ra")}
    rows[0]["diverged"] = 5
    (removed, *_) = claims(rows)
    assert "1 of 27 of these purifications diverged and have no rates." in removed["sentence"]
