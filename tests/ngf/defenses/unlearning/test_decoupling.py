"""The phases of BTI-DBF on features whose meaning is known, and against their formulas."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ngf.defenses.bti_dbf import BTIDBF
from ngf.defenses.contract import Problem
from ngf.defenses.unlearning.decoupling import DecoupledUnlearning, Restyling, decoupling_loss
from ngf.defenses.unlearning.loop import carriers
from ngf.options import SpecError
from tests.helpers.planted_patch import CLASSES, TARGET, planted, problem_of


@pytest.fixture
def backdoored() -> Problem:
    """Features are eight rows, and one unit that sees the last pixel and opens the backdoor."""
    return problem_of(planted(backdoor=True))


def begun(problem: Problem, **options) -> DecoupledUnlearning:
    purification = BTIDBF(
        **{"rounds": 1, "search_steps": 60, "unlearn_steps": 1, **options}
    ).purify(problem)
    purification.batches.augmentation = "none"  # a class is the row that is bright
    return purification


def run_to(purification: DecoupledUnlearning, step: int) -> None:
    for event in purification:
        if event.step == step:
            return


def test_the_mask_tells_what_clean_images_need_from_the_planted_unit(backdoored):
    purification = begun(backdoored)
    events = iter(purification)
    for step in range(11):
        event = next(events)
        assert (event.step, event.phase) == (step, "mask" if step else "")
    mask = purification.mask
    assert mask.shape == (CLASSES + 1,)
    assert (mask[:CLASSES] > 0.9).all() and mask[CLASSES] == 0.0
    assert event.benign == pytest.approx(mask.mean().item()) and event.loss is None


def test_the_loss_of_the_mask_is_that_of_the_formula():
    rng = torch.Generator().manual_seed(0)
    features, mask = torch.rand(7, 5, generator=rng).double(), torch.rand(5, generator=rng).double()
    labels = torch.arange(7) % 3
    linear = nn.Linear(5, 3).double()
    outputs = [(features * part) @ linear.weight.T + linear.bias for part in (mask, 1 - mask)]
    picked = [(x.log_softmax(1))[torch.arange(7), labels].mean() for x in outputs]
    wanted = -picked[0] + picked[1]
    assert torch.allclose(decoupling_loss(linear, features, labels, mask), wanted)


def test_the_generator_finds_what_opens_the_backdoor(backdoored):
    purification = begun(backdoored, size=0.05)
    run_to(purification, 70)
    assert purification.phase == "search" and purification.target == TARGET
    images = backdoored.clean.floats()
    with torch.no_grad():
        made = purification.generator(images)
    assert made[:, :, -1, -1].mean() > 0.5, "the last pixel, which is black"
    assert purification.fooled > 0.5
    assert made.min() >= 0 and made.max() <= 1
    for name, value in backdoored.model.state_dict().items():
        assert torch.equal(value, purification.model.state_dict()[name]), "no weight has moved"


def test_the_loss_of_the_generator_is_that_of_the_formula(backdoored):
    purification = begun(backdoored, size=0.01, benign_bound=2.0, benign_weight=0.3)
    purification.mask = torch.tensor([1.0, 0.5, 0.0])
    images, near, far = torch.full((2, 1, 2, 2), 0.5), 0.55, 0.65
    before = torch.tensor([[1.0, 2.0, 3.0], [2.0, 0.0, 1.0]])
    after = torch.tensor([[2.0, 2.0, 1.0], [2.0, 1.0, 1.0]])
    square = (1 + 4 + 9 + 4 + 1) / 6
    benign = (1 + 0.25) / 6 / square
    other = (4 + 0.25) / 6 / square

    def loss(made: float, later: Tensor) -> float:
        found = purification.generator_loss(images, torch.full_like(images, made), before, later)
        return found.item()

    assert loss(near, after) == pytest.approx(0.3 * benign - other)
    assert loss(far, after) == pytest.approx(0.15**2), "too large: only the size counts"
    assert loss(near, before + 9.0 * torch.tensor([1.0, 0, 0])) == pytest.approx(0.05**2)


def test_it_begins_near_the_identity_and_is_drawn_by_the_seed():
    images = torch.rand(4, 3, 9, 8, generator=torch.Generator().manual_seed(0))
    state = torch.random.get_rng_state()
    first, second, other = Restyling(3, 1), Restyling(3, 1), Restyling(3, 2)
    assert torch.equal(torch.random.get_rng_state(), state), "nobody else's numbers are drawn"
    assert torch.equal(first(images), second(images))
    assert not torch.equal(first(images), other(images))
    size = F.mse_loss(first(images), images).item()
    assert 0 < size < 0.02


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_unlearning_is_that_of_the_formula(wide, share):
    """Adam's first step is the rate along the signs."""
    purification = BTIDBF(
        rounds=1, mask_steps=1, search_steps=2, unlearn_steps=1, batch_size=10, share=share, lr=1e-3
    ).purify(wide)
    run_to(purification, 3)
    model = copy.deepcopy(wide.model).requires_grad_(True)
    rng = torch.Generator().manual_seed(3)
    images, labels = purification.batches.draw(rng)
    carry = carriers(images, share, rng)
    with torch.no_grad():
        made = purification.generator(images[carry])
    mixed = images.clone()
    mixed[carry] = made
    entering = []
    model.linear.register_forward_pre_hook(lambda _m, inputs: entering.append(inputs[0]))
    with torch.no_grad():
        model(images[carry])
    logits = model(mixed)
    clean, after = entering
    apart = (after[carry] - clean).square().mean() / clean.square().mean()
    weights = list(model.parameters())
    slopes = torch.autograd.grad(F.cross_entropy(logits, labels) + apart, weights)
    run_to(purification, 4)
    for weight, slope, now in zip(weights, slopes, purification.weights, strict=True):
        clear = slope.abs() > 1e-6
        assert torch.allclose((now - weight)[clear], -1e-3 * slope.sign()[clear], rtol=0.02)


def test_a_network_without_a_linear_classifier_is_refused(backdoored):
    model = nn.Sequential(nn.Conv2d(1, CLASSES, 8), nn.Flatten())
    with pytest.raises(SpecError, match="no such layer"):
        BTIDBF().purify(replace(backdoored, model=model))
