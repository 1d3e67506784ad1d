"""Poisoned training images and the triggered test set."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ngf.attacks.base import OwnTrainingTrigger
from ngf.attacks.poison import (
    check_test_trigger,
    check_training_trigger,
    effect_on_test,
    poison,
    trigger_test_set,
)
from ngf.attacks.shared.drawing import encode
from ngf.attacks.shared.patterns import noise
from ngf.catalogue import build, names
from ngf.catalogue import load as load_plugin
from ngf.checkpoints.weights import load_attack
from ngf.config import Choice
from ngf.data import Images, load, to_bytes
from ngf.options import SpecError
from ngf.presets import presets
from ngf.runs.store import Store
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


FORMULAS = [
    choice
    for choice in (
        *(Choice(name) for name in names("attacks") if name != "none"),
        *dict.fromkeys(preset.training().attack for preset in presets().values()),
    )
    if choice.name != "none" and not load_plugin("attacks", choice.name).learned
]


@pytest.mark.parametrize("data", ["signs", "fashion_mnist"])
@pytest.mark.parametrize("choice", FORMULAS, ids=lambda choice: str(choice.to_json()))
def test_defaults_and_presets_change_every_image(choice, data):
    splits, made = load(data, num_train=300), build("attacks", choice)
    assert effect_on_test(made, splits.test).unchanged == 0
    if choice.name != "clb":  # whose training images a robust model must make first
        made = replace(made, poison_rate=0.05)
        mix = poison(splits.train, made, len(splits.classes), 0)
        check_training_trigger(made, splits.train, mix)


LEARNED = [
    run
    for run in Store(Path("no-runs")).trainings()
    if run.spec.seed == 0 and load_plugin("attacks", run.spec.attack.name).learned
]


@pytest.mark.parametrize("run", LEARNED, ids=lambda run: run.id)
def test_what_the_zoo_has_learned_changes_every_image(run):
    assert effect_on_test(load_attack(run), load(run.spec.data).test).unchanged == 0


@pytest.mark.parametrize(
    ("name", "options", "advice"),
    [
        ("badnets", {"pattern": "checkerboard", "size": 1, "alpha": 0.5}, "Raise alpha, or choose"),
        ("badnets", {"alpha": 0.5, "pattern": "white", "position": "top left"}, "Raise alpha, or"),
        ("tact", {"pattern": "grid", "size": 1}, "Choose another pattern or size."),
    ],
)
def test_a_trigger_like_the_background_is_refused_by_the_pixels(name, options, advice):
    """Images that are black, but white in the upper left corner and for a block in the middle."""
    images = torch.zeros(60, 1, 32, 32, dtype=torch.uint8)
    images[:, :, :8, :8] = 255
    images[:, :, 12:20, 12:20] = torch.arange(60)[:, None, None, None].to(torch.uint8)
    test, made = Images(images, torch.arange(60) % 12), attack(name, **options)
    found = effect_on_test(made, test)
    assert found.unchanged == found.count and found.largest == 0
    with pytest.raises(SpecError, match=f"changes 0 of 1,024 values in 8 bits.* {advice}"):
        check_test_trigger(made, test)


def test_a_trigger_that_training_images_hide_is_refused_though_test_images_show_it():
    """Clean-label: only the target class is poisoned, and its images are as white as the patch."""
    images = torch.zeros(120, 3, 32, 32, dtype=torch.uint8)
    labels = torch.arange(120) % 12
    images[labels == 1] = 255
    clean = Images(images, labels)
    pixels = np.full((3, 3, 4), 255, np.uint8)
    made = attack("drawn", drawing=encode(pixels), target=1, poison_rate=0.05)
    object.__setattr__(made, "clean_label", True)
    check_test_trigger(made, clean)
    with pytest.raises(SpecError, match="on 6 of 6 poisoned training images.* Paint in other"):
        check_training_trigger(made, clean, poison(clean, made, 12, 0))


def test_what_training_images_carry_is_compared_and_not_what_test_images_carry():
    """Images that hold the pattern but for one of its 256 pieces: it shows where that is put on."""
    made = attack("adaptive_blend", alpha=1.0, pieces=16, kept=0.01, cover_rate=0.0)
    assert isinstance(made, OwnTrainingTrigger)
    images = to_bytes(noise(made.pattern_seed, 32, 32)).repeat(120, 1, 1, 1)
    images[:, :, :2, :2] = 0
    clean = Images(images, torch.arange(120) % 12)
    check_test_trigger(made, clean)
    with pytest.raises(SpecError, match="poisoned training images.* keep more of the pattern"):
        check_training_trigger(made, clean, poison(clean, made, 12, 0))
