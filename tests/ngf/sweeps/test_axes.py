"""Values of axes, and where they are put."""

from __future__ import annotations

import pytest

from ngf.options import SpecError
from ngf.sweeps.axes import in_text, put, values_in, values_of


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ([3, "a", None], (3, "a", None)),
        (7, (7,)),
        ({"name": "blend"}, ({"name": "blend"},)),
        ({"from": 0, "to": 4}, (0, 1, 2, 3, 4)),
        ({"from": 0, "to": 10, "num": 3}, (0, 5, 10)),
        ({"from": 0.0, "to": 1.0, "num": 5}, (0.0, 0.25, 0.5, 0.75, 1.0)),
        ({"from": 1e-3, "to": 0.1, "num": 3, "scale": "log"}, (0.001, 0.01, 0.1)),
    ],
)
def test_values(given, values):
    assert values_of("seed", given) == values


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "no values"),
        ([1, 2, 1], "the value 1 twice"),
        (list(range(1001)), "1,001 values"),
        ({"from": 2, "to": 1}, "`from` below `to`"),
        ({"from": True, "to": 2}, "`from` below `to`"),
        ({"from": float("nan"), "to": 2}, "`from` below `to`"),
        ({"from": 0, "to": 1, "num": 3, "scale": "log"}, "log where all values are positive"),
        ({"from": 0.5, "to": 1.5}, "needs `num`"),
        ({"from": 0, "to": 10_000}, "needs `num`: 2 to 1,000"),
        ({"from": 0, "to": 1, "step": 1}, "has no step"),
    ],
)
def test_values_that_are_none(given, said):
    with pytest.raises(SpecError, match="seed") as refused:
        values_of("seed", given)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.01, 0.1", (0.01, 0.1)),
        ("ngf,sgd ,  adam", ("ngf", "sgd", "adam")),
        ("0..4", (0, 1, 2, 3, 4)),
        ("-1 .. 1, 7", (-1, 0, 1, 7)),
        ("0.001..0.1 log 3", (0.001, 0.01, 0.1)),
        ("1e-3..1e-1  log  3", (0.001, 0.01, 0.1)),
        (".5..1. 2", (0.5, 1.0)),
        ("+0..1 linear 3", (0.0, 0.5, 1.0)),
        ("0..10 3", (0, 5, 10)),
        ('{"name": "blend", "alpha": 0.2}, badnets', ({"name": "blend", "alpha": 0.2}, "badnets")),
        ('"0..4", "a, b", false, "null"', ("0..4", "a, b", False, "null")),
        ("a..b", ("a..b",)),
        ("stage1.block0.conv1", ("stage1.block0.conv1",)),
    ],
)
def test_values_in_a_text_and_back(text, values):
    assert values_in("x", text) == values
    assert values_in("x", in_text(values)) == values


def test_texts_are_short():
    assert in_text((0, 1, 2, 3, 7, 8)) == "0..3, 7, 8"
    assert in_text(("ngf", 0.1, "1")) == 'ngf, 0.1, "1"'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no values"),
        (" , ", "no values"),
        ("1, 1", "the value 1 twice"),
        ("0..4, 2", "the value 2 twice"),
        ("0.1..1", "needs `num`"),
        ("0..1 log 3", "log where all values are positive"),
        ("4..0", "`from` below `to`"),
        ("0..9999", "2 to 1,000"),
    ],
)
def test_texts_that_are_no_values(text, said):
    with pytest.raises(SpecError) as refused:
        values_in("seed", text)
    assert said in str(refused.value)


def test_places_in_a_run():
    tree = {"attack": "badnets", "lanes": ["ngf", {"name": "sgd"}]}
    put(tree, "attack.size", 4)
    put(tree, "lanes.0.steps", 3)
    put(tree, "lanes.1", "adam")
    put(tree, "training.epochs", 2)
    assert tree == {
        "attack": {"name": "badnets", "size": 4},
        "lanes": [{"name": "ngf", "steps": 3}, "adam"],
        "training": {"epochs": 2},
    }
    for path in ("lanes.2", "lanes.x.lr", "attack.size.more"):
        with pytest.raises(SpecError, match="leads nowhere"):
            put(tree, path, 1)
