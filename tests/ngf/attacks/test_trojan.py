"""Trojan: a patch in the corner that excites the neurons which weigh most."""

import pytest
import torch

from ngf.options import SpecError
from tests.helpers.attack_view import attack, rng


@pytest.fixture(scope="module")
def trojan(world):
    made = attack("trojan")
    return made.with_trigger(made.prepare(world))


def test_trojan_puts_its_patch_into_the_corner(images, trojan):
    patch = trojan.trigger["patch"]
    expected = images.clone()
    expected[:, :, 23:31, 23:31] = patch
    assert torch.equal(trojan.apply(images), expected)
    assert patch.min() >= 0 and patch.max() <= 1


def test_trojan_excites_the_neurons_that_weigh_most(images, trojan, model):
    chosen = trojan.trigger["neurons"]
    weights = model.linear.weight.detach().abs().sum(0)
    assert set(chosen.tolist()) == set(weights.topk(2).indices.tolist())

    seen: list[torch.Tensor] = []
    with (
        model.linear.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0])),
        torch.no_grad(),
    ):
        noise = {"patch": torch.rand(3, 8, 8, generator=rng(1))}
        for batch in (images, trojan.with_trigger(noise).apply(images), trojan.apply(images)):
            model(batch)
    clean, random, made = (features[:, chosen].mean().item() for features in seen)
    assert made > random > 0 and made > clean


def test_trojan_refuses_a_patch_that_does_not_fit():
    with pytest.raises(SpecError, match="needs 41x41 pixels does not fit into an image of 32x32"):
        attack("trojan", size=40).check(12, (3, 32, 32))
