"""Poisoned training images and the triggered test set."""

import pytest
import torch

from ngf.attacks.poison import poison, trigger_test_set
from ngf.catalogue import build
from ngf.config import Choice
from ngf.data import load
from ngf.options import SpecError
from tests.helpers.attack_view import attack, view


def test_poisoning_marks_what_it_changes():
    splits = load("signs", num_train=1000)
    attack = build("attacks", Choice("wanet"))
    mix = poison(splits.train, attack, 12, seed=0)
    changed = (mix.data.images != splits.train.images).flatten(1).any(1)
    assert int(mix.triggered.sum()) == round(1000 * attack.poison_rate)
    assert int(mix.cover.sum()) == round(1000 * attack.cover_rate)
    assert not bool((mix.triggered & mix.cover).any())
    assert bool((changed <= (mix.triggered | mix.cover)).all())
    assert bool((mix.data.labels[mix.triggered] == attack.target).all())
    assert torch.equal(mix.data.labels[~mix.triggered], splits.train.labels[~mix.triggered])


def test_impossible_poison_rates_are_refused_with_numbers():
    splits = load("signs", num_train=1000)
    with pytest.raises(SpecError, match=r"asks for 0 of 1,000"):
        poison(splits.train, build("attacks", Choice("badnets", {"poison_rate": 0.0001})), 12, 0)
    with pytest.raises(SpecError, match=r"can be poisoned. Choose a rate"):
        poison(splits.train, build("attacks", Choice("sig", {"poison_rate": 0.5})), 12, 0)
    with pytest.raises(SpecError, match=r"Target class 12 does not exist. Allowed: 0 to 11"):
        poison(splits.train, build("attacks", Choice("badnets", {"target": 12})), 12, 0)


def test_the_triggered_test_set_leaves_out_the_target():
    splits = load("signs")
    one = trigger_test_set(splits.test, build("attacks", Choice("badnets", {"target": 3})), 12)
    assert 3 not in one.data.labels.unique()
    assert one.wanted.unique().tolist() == [3]
    every = trigger_test_set(
        splits.test, build("attacks", Choice("badnets", {"mode": "all-to-all"})), 12
    )
    assert len(every.data) == len(splits.test)
    assert torch.equal(every.wanted, (every.data.labels + 1) % 12)


def test_training_images_carry_the_training_trigger():
    clean, made = view().train, attack("adaptive_blend", poison_rate=0.1, cover_rate=0.0)
    mix = poison(clean, made, 12, seed=0)
    changed = (mix.data.images != clean.images).flatten(1)
    assert torch.equal(changed.any(1), mix.triggered)
    assert bool((mix.data.labels[mix.triggered] == 1).all())
    assert (
        0.3 < changed[mix.triggered].float().mean() < 0.55
    )  # half of the pieces; noise can leave a byte as it is
    again = poison(clean, made, 12, seed=0)
    assert torch.equal(again.data.images, mix.data.images)
