"""What is asked before an import, and what is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ngf.data import load
from ngf.imports.asking import TooFewSure, questions, settle
from ngf.imports.classes import Assignment
from ngf.imports.pictures import find
from ngf.imports.preprocessing import OWN, Preprocessing, Tried
from ngf.models.of_others.recognize import Fit, recognize
from tests.helpers.brought import zoo_weights

HOW = Preprocessing(32, OWN)


@pytest.fixture(scope="module")
def signs():
    return find(["signs:40"])


@pytest.fixture(scope="module")
def weights():
    return zoo_weights()


def tried(name, agreement, by_name=True):
    plain = Assignment(tuple(range(12)), agreement, by_name)
    return Tried(Fit(name, (), ()), HOW, agreement, 40, plain)


def asked(signs, weights, *found, **said):
    shape, fits = recognize(weights)
    settled = settle(shape, fits, found, signs, weights)
    known = {"expect": 70.0, "model": "", "resize": None, "classes": False} | said
    return [one.option for one in questions(settled, **known)]


def test_nothing_is_asked_where_all_is_clear(signs, weights):
    assert asked(signs, weights, tried("preact_resnet_tiny", 0.98)) == []


def test_two_networks_that_do_alike_are_asked_about(signs, weights):
    both = tried("resnet18", 0.98), tried("vgg_tiny", 0.975)
    assert asked(signs, weights, *both) == ["model"]
    assert asked(signs, weights, *both, model="resnet18") == []
    assert asked(signs, weights, both[0], tried("vgg_tiny", 0.9)) == [], "one leads"


def test_an_order_that_was_matched_is_confirmed(signs, weights):
    matched = tried("preact_resnet_tiny", 0.98, by_name=False)
    assert asked(signs, weights, matched) == ["classes"]
    assert asked(signs, weights, matched, classes=True) == []


def test_accuracy_below_what_is_expected_stops_the_show(signs, weights):
    assert asked(signs, weights, tried("preact_resnet_tiny", 0.36)) == ["expect"]
    assert asked(signs, weights, tried("preact_resnet_tiny", 0.36), expect=30.0) == []


def test_images_that_are_no_squares_are_asked_about(signs, weights):
    wide = replace(signs, sizes=[(40, 32)] * len(signs))
    assert asked(wide, weights, tried("preact_resnet_tiny", 0.98)) == ["resize"]
    assert asked(wide, weights, tried("preact_resnet_tiny", 0.98), resize="crop") == []


def test_without_labels_sure_predictions_stand_for_them(signs, weights, one_thread):
    shape, fits = recognize(weights)
    bare = replace(signs, labels=[], numbers=torch.full_like(signs.numbers, -1))
    best = Tried(fits[0], HOW, 0.99, 40, None)
    settled = settle(shape, fits, [best], bare, weights)
    classes = load("signs").classes
    true = torch.tensor([classes.index(source.label) for source in settled.pictures.sources])
    assert len(true) >= 20
    assert (settled.numbers == true).float().mean() > 0.9, "a good model is nearly always right"
    known = {"expect": 70.0, "model": "", "resize": None, "classes": False}
    assert [one.option for one in questions(settled, **known)] == ["accept"]
    unsure = {name: value * 0 if "linear" in name else value for name, value in weights.items()}
    with pytest.raises(TooFewSure, match="sure of 0 of 40"):
        settle(shape, fits, [best], bare, unsure)
