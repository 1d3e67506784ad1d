"""Claims about sharpness: decided by intervals, and what the clean loss explains is said so."""

from __future__ import annotations

from typing import Any

import pytest

from evidence.sharpness_claims import (
    CALLED,
    counted,
    judged,
    sharper,
    smoother,
    which_measure_tells,
)
from evidence.sharpness_table import ALL, CONTROL, backdoored, groups, rows_of
from tests.helpers import made_up_minima
from tests.helpers.made_up_minima import World

N = {"attacks": 15, "models": 45, "benign": 17}


def ratio(low: float, high: float, p: float | None = 0.01, **more: Any) -> dict[str, Any]:
    keys = {"data": "signs", "images": "train", "attack": ALL, "question": "backdoored"}
    keys |= {"compared": "raw", "measure": "lambda_max"}
    numbers = {"ratio": (low * high) ** 0.5, "low": low, "high": high, "p": p, "holm": True}
    return keys | numbers | {"n": N, "told": ""} | more


UP, FLAT, DOWN = ratio(1.4, 1.8), ratio(0.95, 1.06, 0.8), ratio(0.7, 0.9)


@pytest.mark.parametrize(
    ("raw", "equal", "answer", "verdict"),
    [
        (UP, UP, "yes", "Supported"),
        (UP, FLAT, "partly", "Explained by the clean loss"),
        (UP, ratio(0.9, 2.0, 0.2), "partly", "Supported in part"),
        (UP, DOWN, "partly", "Only as they are, the reverse at equal clean loss"),
        (UP, None, "partly", "Supported, clean loss not accounted for"),
        (FLAT, UP, "partly", "Only at equal clean loss"),
        (FLAT, FLAT, "open", "Left open"),
        (FLAT, None, "open", "Left open"),
        (DOWN, DOWN, "no", "Not supported"),
        (ratio(1.01, 1.5, 0.3), None, "open", "Left open"),
    ],
)
def test_a_verdict_is_of_both_intervals(raw, equal, answer, verdict) -> None:
    assert judged(raw, equal, above=True) == (answer, verdict)


def test_smoother_is_below() -> None:
    assert judged(DOWN, DOWN, above=False) == ("yes", "Supported")
    assert judged(UP, UP, above=False) == ("no", "Not supported")


def test_an_effect_that_the_loss_explains_is_said_so() -> None:
    world = World(loss=0.9, effect=0.0, measures=("lambda_max",), images=("train",))
    ((where, of),) = groups(rows_of(made_up_minima.minima(world)))
    effects, shares = backdoored(of, ["lambda_max"])
    found = {"effects": [where | row for row in effects], "shares": [where | row for row in shares]}
    (claim,) = sharper(found)
    assert claim["verdict"] == "Explained by the clean loss" and claim["answer"] == "partly"
    assert claim["short"].endswith("the difference in clean loss explains it.")
    assert "18 models of 6 attacks, 8 benign models" in claim["short"]
    assert "of the log ratio go with the clean loss" in claim["sentence"]
    assert "Not a causal share" in claim["sentence"]


def test_what_was_not_compared_is_no_claim() -> None:
    nothing = {"effects": [], "shares": [], "detectors": []}
    assert sharper(nothing) == smoother(nothing) == [] and which_measure_tells(nothing) == ""


def test_purified_is_told_with_and_without_the_regularizer() -> None:
    n = {"attacks": 3, "models": 9, "purification_seeds": 5}
    effects = [
        ratio(0.6, 0.8, question="purified", method=method, compared=compared, n=n)
        for method in ("ngf", "ngf, with regularizer")
        for compared in ("raw", "loss", "ca")
    ]
    (claim,) = smoother({"effects": effects, "shares": []})
    assert claim["verdict"] == "Supported" and "9 models of 3 attacks" in claim["short"]
    assert "5 purification seeds each" in claim["short"]
    assert "at the same clean accuracy 0.69 times" in claim["short"]
    assert "NGF, with regularizer, training images: 0.69 times" in claim["sentence"]


def test_the_best_detector_stands_beside_the_loss() -> None:
    rows = [
        {"data": "signs", "images": "train", "measure": name, "attack": ALL, "n": N}
        | {"auc": value, "low": value - 0.2, "high": min(1.0, value + 0.1)}
        for name, value in (("lambda_max", 0.6), ("fisher_trace", 0.8), (CONTROL, 0.9))
    ]
    told = which_measure_tells({"detectors": rows})
    assert told.startswith("On training images, 1 of 2 measures tell")
    assert "Highest: trace of the Hessian, AUC 0.80 (0.60 to 0.90)" in told
    assert "the clean loss alone reaches 0.90 (0.70 to 1.00)" in told


def test_what_a_number_rests_on_is_in_words() -> None:
    assert counted({"attacks": 1, "models": 1}) == "1 model of 1 attack"
    assert counted(N) == "45 models of 15 attacks, 17 benign models"
    assert set(CALLED) == {"lambda_max", "fisher_trace", "invariant"}
