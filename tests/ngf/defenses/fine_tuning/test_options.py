"""What fine-tuning defenses have in common, and how much they are asked to do."""

import pytest

from ngf.catalogue import build, load
from ngf.config import Choice
from ngf.defenses.fine_tuning.options import FOLDS, tunings


@pytest.mark.parametrize("name", ["sgd", "adam", "ngf", "fine_pruning"])
def test_what_defaults_were_can_still_be_asked_for(name):
    former = load("defenses", name).former
    then = build("defenses", Choice(name, dict(former)))
    assert former and {key: getattr(then, key) for key in former} == former
    assert then != build("defenses", Choice(name)), "a default that has not changed is not former"


def test_tunings_behind_a_choice_are_counted():
    assert tunings({"lr": 0.1, "layer": "all"}, 16) == 1
    assert tunings({"lr": 0.1, "layer": "auto"}, 16) == 17
    rule = tunings({"lr": 0, "layer": "all"}, 16) - 1
    assert tunings({"lr": 0, "layer": "auto"}, 16, folds=FOLDS) == 1 + FOLDS * (16 + rule)


def test_of_several_strengths_the_one_that_says_how_far_is_asked_for():
    rule = tunings({"lr": 0}, 16)
    assert tunings({"lr": 0.1, "t": 0}, 16) == rule > 1
    assert tunings({"lr": 1.0, "trust_region": 0}, 16) == rule
    assert tunings({"lr": 0.1, "t": 0.5}, 16) == 1
    assert tunings({"lr": 0.1, "gamma": 0}, 16) == tunings({"lr": 0.1, "neurons": 0}, 16) == rule
