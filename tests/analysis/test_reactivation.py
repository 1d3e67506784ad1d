"""The attack that asks whether a backdoor is gone or only closed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from analysis.reactivation import EPOCHS, POISONED, divided, poisoned, reactivated
from evidence.arena import Bench, Trial, done, path_of
from evidence.computing import of_zoo
from ngf.attacks.badnets import BadNets
from ngf.attacks.poison import Triggered
from ngf.data import Images, load, to_float
from ngf.options import SpecError
from ngf.runs.store import Store


def splits():
    return load("signs", seed=0, num_train=200, num_clean=40)


def test_the_poisoned_images_are_what_the_attacker_wants():
    attack, data = BadNets(), splits()
    bad = poisoned(data, attack, seed=0)
    assert len(bad) == POISONED and set(bad.labels.tolist()) == {attack.target}
    came = {image.numpy().tobytes() for image in data.train.images}
    assert not any(image.numpy().tobytes() in came for image in bad.images), "with the trigger"
    again = to_float(bad.images)
    assert torch.allclose(attack.apply(again), again, atol=1 / 255), "once more changes nothing"
    other = poisoned(data, attack, seed=1)
    assert not torch.equal(bad.images, other.images)


def test_a_copy_is_tuned_the_same_for_a_seed():
    data = splits()
    bad = poisoned(data, BadNets(), seed=0)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 12)).eval()
    before = [value.clone() for value in model.parameters()]
    one, other = (reactivated(model, data.clean, bad, seed=0) for _ in range(2))
    assert all(map(torch.equal, model.parameters(), before)) and not one.training
    assert all(map(torch.equal, one.parameters(), other.parameters()))


def test_the_steps_are_those_of_descent_with_momentum():
    """By hand, all images in one batch."""
    data = splits()
    bad = poisoned(data, BadNets(), seed=0)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 12))
    tuned = reactivated(model, data.clean, bad, seed=0)
    images = to_float(torch.cat([data.clean.images, bad.images]))
    labels = torch.cat([data.clean.labels, bad.labels])
    speed = [torch.zeros_like(p) for p in model.parameters()]
    for _ in range(EPOCHS):
        loss = nn.functional.cross_entropy(model(images), labels)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for p, v, g in zip(model.parameters(), speed, gradients, strict=True):
                p -= 0.01 * v.mul_(0.9).add_(g)
    for mine, its in zip(model.parameters(), tuned.parameters(), strict=True):
        assert torch.allclose(mine, its, atol=1e-5)


def test_a_row_of_the_arena_comes_out_the_same():
    """CLP on 20 clean images: no step of it is random, and its row is stored in the arena."""
    run = "signs-badnets-s0-36a7376469"
    (row,) = (
        one
        for one in done(path_of(run))
        if (one["method"], one["seed"], one["num_clean"]) == ("clp", 0, 20)
    )
    store = Store()
    again = Bench(store, of_zoo(store, run)).purify(Trial("clp", 0, 20))
    # on another processor the last bits of a step differ, and with them some of 2,202 images
    for rate in ("asr", "asr_reactivated"):
        assert again[rate] == pytest.approx(row[rate], abs=0.005), rate


def test_what_somebody_brought_is_divided_and_nothing_is_on_both_sides():
    images = torch.arange(12, dtype=torch.uint8).view(12, 1, 1, 1)
    seen = Triggered(Images(images, torch.zeros(12).long()), torch.ones(12).long())
    tuned, held = divided(seen, seed=0)
    assert (len(tuned), len(held)) == (POISONED, 12 - POISONED)
    assert sorted([*tuned.images.flatten().tolist(), *held.images.flatten().tolist()]) == list(
        range(12)
    )
    assert set(tuned.labels.tolist()) == {1} == set(held.labels.tolist()), "the attacker's class"
    other, _ = divided(seen, seed=1)
    assert not torch.equal(tuned.images, other.images)
    few = Triggered(seen.data.take(slice(0, 1)), seen.wanted[:1])
    with pytest.raises(SpecError, match="Only one picture"):
        divided(few, seed=0)
