"""Generators: their network, its weights, and the attackers who train them."""

import copy

import pytest
import torch
import torch.nn.functional as F

from ngf.attacks.shared.generator import UNet, own_share, packed, unpacked
from tests.helpers.attack_view import rng
from tests.helpers.attackers import Linear, started, train

CONTROLLED = ["lira", "input_aware", "feature_space"]


@pytest.mark.parametrize("size", [(4, 4), (7, 9), (32, 32)])
def test_the_network_keeps_the_size_and_comes_back_from_its_weights(size):
    network, x = UNet(3, 2, width=4), torch.rand(3, 3, *size)
    weights = packed(torch.nn.ModuleDict({"a": network, "b": UNet(1, 1)}))
    state = torch.get_rng_state()
    again = unpacked(weights, "a", x)
    assert torch.equal(torch.get_rng_state(), state)
    assert again(x).shape == (3, 2, *size)
    assert torch.equal(again(x), network(x).detach())
    assert torch.allclose(
        unpacked(weights, "a", x.double())(x.double()), network(x).double(), atol=1e-5
    )


def test_the_own_share_is_what_no_single_pattern_explains():
    images = torch.rand(4, 3, 8, 8, generator=rng())
    pattern, other = torch.eye(8).expand(3, 8, 8), torch.eye(8).flip(1).expand(3, 8, 8)
    signs = torch.tensor([1.0, 1.0, -1.0, -1.0]).view(4, 1, 1, 1)
    assert own_share(images, images) == 0
    assert own_share(images, images + pattern) == pytest.approx(0, abs=1e-6)
    assert own_share(images, images + signs * pattern) == pytest.approx(1, abs=1e-6)
    # the two patterns share no pixel: one unit of energy is common, a quarter of one is not
    mixed = images + pattern + 0.5 * signs * other
    assert own_share(images, mixed) == pytest.approx(0.2, abs=1e-6)


@pytest.mark.parametrize("name", CONTROLLED)
def test_every_step_moves_the_attacker_and_leaves_no_gradient(name, batch):
    _, attacker, model = started(name)
    before = attacker.trigger()
    train(attacker, model, batch, 0, 1)
    after = attacker.trigger()
    assert any(not torch.equal(before[key], after[key]) for key in before)
    assert all(weight.grad is None for weight in attacker.networks.parameters())


@pytest.mark.parametrize("name", CONTROLLED)
def test_the_attacker_resumes_to_the_last_bit(name, batch):
    _, attacker, model = started(name)
    train(attacker, model, batch, 0, 2)
    state = copy.deepcopy((attacker.state_dict(), model.state_dict()))
    train(attacker, model, batch, 2, 8)
    _, again, other = started(name)
    again.load_state_dict(state[0])
    other.load_state_dict(state[1])
    train(again, other, batch, 2, 8)
    undisturbed = attacker.trigger()
    assert undisturbed.keys() == again.trigger().keys()
    assert all(torch.equal(value, undisturbed[key]) for key, value in again.trigger().items())
    assert all(
        torch.equal(value, model.state_dict()[key]) for key, value in other.state_dict().items()
    )


@pytest.mark.parametrize("name", CONTROLLED)
def test_a_batch_of_the_target_class_alone_has_a_finite_loss(name, batch):
    attack, attacker, model = started(name)
    train(attacker, model, (batch[0][:4], torch.full((4,), attack.target)), 0, 2)
    assert all(value.isfinite().all() for value in attacker.trigger().values())


@pytest.mark.parametrize("name", CONTROLLED)
def test_the_attacker_learns_to_fool_a_fixed_classifier(name, batch):
    # What else the attacker wants is left out.
    options = {
        "lira": {"lr": 0.01},
        "input_aware": {"diversity": 0.0, "cross_rate": 0.0},
        "feature_space": {"similarity": 0.0},
    }[name]
    attack, attacker, _ = started(name, poison_rate=0.5, **options)
    torch.manual_seed(0)
    model = Linear().requires_grad_(False)
    images, labels = batch
    images, labels = images[labels != attack.target], labels[labels != attack.target]

    def wanted_loss() -> float:
        triggered = attack.with_trigger(attacker.trigger()).apply(images)
        return F.cross_entropy(model(triggered), torch.full_like(labels, attack.target)).item()

    before = wanted_loss()
    for step in range(15):
        attacker.loss(model, images, labels, rng()).backward()
        attacker.step(step / 100)
    assert wanted_loss() < before
