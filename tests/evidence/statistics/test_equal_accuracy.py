"""ASR at an equal drop of clean accuracy: between points, never beyond them."""

from __future__ import annotations

import pandas as pd
import pytest

from evidence.statistics.equal_accuracy import (
    LOSES_LESS,
    LOSES_MORE,
    asr_at_drop,
    at_equal_accuracy,
    sentence,
    summary,
)


def sweep(ca: list[float], asr: list[float], seed: int = 0, repeat: int = 0) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "method": "ngf",
            "attack": "blend",
            "seed": seed,
            "purification_seed": repeat,
            "strength": range(len(ca)),
            "ca": ca,
            "asr": asr,
            "ca_before": 0.95,
        }
    )


def test_it_is_read_between_neighboring_points():
    assert asr_at_drop([0.0, 0.02], [1.0, 0.2], 0.01) == pytest.approx(0.6)
    assert asr_at_drop([0.005, 0.01, 0.03], [0.9, 0.4, 0.0], 0.01) == 0.4  # on a point
    assert asr_at_drop([0.0, 0.04, 0.0, 0.04], [1.0, 0.2, 0.1, 0.0], 0.02) == pytest.approx(0.6)
    assert asr_at_drop([0.03, -0.01], [0.0, 0.8], 0.01) == pytest.approx(0.4)  # falling as well


def test_it_is_never_drawn_on():
    assert asr_at_drop([0.0, 0.009], [1.0, 0.0], 0.01) is None
    assert asr_at_drop([0.03, 0.05], [0.2, 0.0], 0.01) is None
    assert asr_at_drop([0.02], [0.2], 0.01) is None
    with pytest.raises(ValueError, match="0 drops and 1 success rates"):
        asr_at_drop([], [0.2], 0.01)


def test_what_a_method_cannot_reach_has_a_reason():
    points = pd.concat(
        [
            sweep([0.95, 0.93], [1.0, 0.2]),
            sweep([0.95, 0.945], [0.5, 0.1], seed=1),
            sweep([0.90, 0.85], [0.3, 0.0], seed=2),
        ]
    )
    found = at_equal_accuracy(points, [0.01, 0.02]).set_index(["seed", "drop"])
    assert found.loc[(0, 0.01), "asr"] == pytest.approx(0.6)
    assert found.loc[(0, 0.02), "asr"] == pytest.approx(0.2)  # 0.95 - 0.93 counts as 0.02
    assert found.loc[(1, 0.01), "why_not"] == LOSES_LESS
    assert found.loc[(1, 0.01), "least_within"] == pytest.approx(0.1)
    assert found.loc[(2, 0.02), "why_not"] == LOSES_MORE
    assert pd.isna(found.loc[(2, 0.02), "asr"]) and pd.isna(found.loc[(2, 0.02), "least_within"])
    one, _ = summary(points, [0.01, 0.02])
    assert (one.reached, one.of, one.never, one.always) == (1, 3, 1, 1)
    assert sentence(one) == (
        "ngf at a drop of 1 points of clean accuracy: 60.0 % attack success rate is left (standard "
        "deviation between models not known, between purification seeds of one model not known; "
        "n = 1 attack, 1 model, 1 purification seed). Reached by 1 of 3 purifications (1 never "
        "lose so much, 1 always lose more)."
    )
    (none,) = summary(sweep([0.90], [0.3]), [0.01])
    assert none.left is None and "no attack success rate" in sentence(none)


def test_both_spreads_are_shown():
    points = pd.concat(
        sweep([0.95, 0.93], [1.0, low], seed, repeat)
        for seed, lows in enumerate([(0.0, 0.2), (0.4, 0.6)])
        for repeat, low in enumerate(lows)
    )
    (found,) = summary(points, [0.01])
    assert found.left is not None
    assert found.left.value == pytest.approx(0.65)  # the mean of 0.5, 0.6, 0.7, 0.8
    assert found.left.between_models == pytest.approx(0.2 / 2**0.5)
    assert found.left.between_seeds == pytest.approx(0.1 / 2**0.5)
    assert (found.reached, found.of) == (4, 4)


def test_strengths_are_sorted_and_points_checked():
    points = sweep([0.95, 0.93, 0.90], [1.0, 0.2, 0.0])
    shuffled = at_equal_accuracy(points.iloc[[2, 0, 1]], [0.01])
    assert shuffled["asr"][0] == pytest.approx(0.6)
    with pytest.raises(ValueError, match="is there twice"):
        at_equal_accuracy(points.assign(strength=1))
    with pytest.raises(ValueError, match="outside 0 to 1"):
        at_equal_accuracy(points.assign(ca=95.0))
