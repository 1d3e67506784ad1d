"""What defenses that unlearn have in common: the rate, what they keep, what they refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ngf.catalogue import build, names
from ngf.config import Choice
from ngf.defenses.contract import Choosing, Step
from ngf.defenses.unlearning.loop import UnlearningDefense, clean_loss
from ngf.options import SpecError
from tests.helpers.purifications import short

UNLEARNING = [
    name
    for name in names("defenses")
    if isinstance(build("defenses", Choice(name)), UnlearningDefense)
]


@pytest.mark.parametrize("name", UNLEARNING)
def test_a_rate_of_zero_is_chosen_on_clean_images_and_said(name, problem):
    defense = short(name, lr=0.0, rounds=1)
    purification = defense.purify(problem)
    events = list(purification)
    tried = [event.tried for event in events if isinstance(event, Choosing)]
    assert tried[0] == defense.usual and len(set(tried)) == len(tried)
    about = purification.summary()
    assert about["lr"] in tried and "clean accuracy" in about["why"]
    steps = [event for event in events if isinstance(event, Step)]
    given = short(name, lr=about["lr"], rounds=1).purify(problem)
    assert [event for event in given if isinstance(event, Step)] == steps
    for key, value in given.model.state_dict().items():
        assert torch.equal(value, purification.model.state_dict()[key]), key
    assert given.summary()["why"] == ""


@pytest.mark.parametrize("name", UNLEARNING)
def test_a_single_image_is_refused_before_the_start(name, problem):
    with pytest.raises(SpecError, match="two clean images"):
        short(name).purify(replace(problem, clean=problem.clean.take(slice(0, 1))))


@pytest.mark.parametrize("name", UNLEARNING)
def test_timing_takes_the_steps_alone(name, problem):
    timed = build("defenses", Choice(name, {"lr": 0.0})).with_choices_made(problem, steps=50)
    assert timed.lr == timed.usual
    assert timed.purify(problem).steps == build("defenses", Choice(name)).purify(problem).steps


def test_loss_is_told_of_clean_images():
    logits = torch.tensor([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]])
    labels = torch.tensor([0, 0, 0])
    assert clean_loss(logits, labels, torch.tensor([2])) == pytest.approx(0.5 * 0.693147, abs=1e-6)
    assert clean_loss(logits, labels, torch.arange(3)) == pytest.approx((0.693147 + 50) / 3)
