"""AWM against its formulas, in float64, and on a planted backdoor."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ngf import models
from ngf.defenses.awm import AWM, WeightMasking
from ngf.defenses.contract import Choosing
from ngf.evaluate import accuracy
from tests.helpers import planted as planting
from tests.helpers.purifications import finish, short

GAMMA, ALPHA, H = 1e-3, 0.6, 1e-6


def begun(problem, **options) -> WeightMasking:
    """Two rounds: of three steps for the disturbance (60 images, 24 a batch), and two of masks."""
    return short(
        "awm", steps=4, round_steps=2, gamma=GAMMA, alpha=ALPHA, augmentation="weak", **options
    ).purify(problem)


def masked(model, masks):
    """The model with its weights multiplied, written out."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for name, mask in masks.items():
            model.get_submodule(name).weight.mul_(mask)
    return model


def test_rounds_begin_with_a_pass_over_the_images(problem):
    purification = begun(problem)
    events = finish(purification)
    assert [event.phase for event in events[1:]] == (["disturb"] * 3 + ["mask"] * 2) * 2
    assert [event.loss is None for event in events[1:]] == ([True] * 3 + [False] * 2) * 2
    assert events[-1].kept < events[4].kept < events[3].kept == 1.0
    assert list(purification.masks) == [
        name for name in models.tunable_layers(problem.model) if name != "linear"
    ]


def test_the_disturbance_is_a_pass_of_ascent_within_its_radius(wide):
    """delta + lr grad CE(f(x + delta), argmax f(x)), one batch after another, each image once."""
    purification = begun(wide, delta_lr=0.7, radius=1e-4)
    shown = []
    draw = purification.batches.images
    purification.batches.images = lambda index, rng: (
        shown.append((index, draw(index, rng))) or (shown[-1][1])
    )
    steps = iter(purification)
    next(steps)
    delta = torch.zeros(3, 32, 32, dtype=torch.float64)
    for k in range(3):
        next(steps)
        images = shown[k][1]
        said = wide.model(images).argmax(1)
        with torch.enable_grad():
            moved = delta.clone().requires_grad_(True)
            loss = F.cross_entropy(wide.model(images + moved), said)
            delta = delta + 0.7 * torch.autograd.grad(loss, moved)[0]
        if k < 2:
            assert torch.allclose(purification.delta, delta, rtol=1e-9, atol=1e-15)
    assert sorted(torch.cat([index for index, _images in shown]).tolist()) == list(range(60))
    assert delta.abs().mean() > 1e-4
    assert purification.delta.abs().mean().item() == pytest.approx(1e-4, rel=1e-9)
    cosine = F.cosine_similarity(purification.delta.flatten(), delta.flatten(), dim=0)
    assert cosine.item() == pytest.approx(1.0, rel=1e-12)


def test_masks_descend_both_losses_and_the_penalty(wide):
    """The gradient of the whole loss by finite differences, with BatchNorm in train mode."""
    purification = begun(wide, delta_lr=1e3)
    steps = iter(purification)
    for _ in range(4):
        next(steps)
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for mask in purification.masks.values():
            mask.copy_(0.3 + 0.4 * torch.rand(mask.shape, generator=rng))
    shown = []
    draw = purification.batches.draw
    purification.batches.draw = lambda rng: shown.append(draw(rng)) or shown[-1]
    before = {name: mask.detach().clone() for name, mask in purification.masks.items()}
    next(steps)
    ((images, labels),) = shown

    def loss(name: str, place: tuple[int, ...], step: float) -> float:
        masks = {one: mask.clone() for one, mask in before.items()}
        masks[name][place] += step
        model = masked(wide.model, masks).train()
        clean = F.cross_entropy(model(images), labels)
        disturbed = F.cross_entropy(model((images + purification.delta).clamp(0, 1)), labels)
        penalty = sum(mask.sum() for mask in masks.values())
        return (ALPHA * clean + (1 - ALPHA) * disturbed + GAMMA * penalty).item()

    for name, place in (("stem", (3, 1, 0, 2)), ("stage2.block1.shortcut", (5, 2, 0, 0))):
        slope = (loss(name, place, H) - loss(name, place, -H)) / (2 * H)
        assert purification.masks[name].grad[place].item() == pytest.approx(slope, rel=1e-4)
        assert abs(slope - GAMMA) > 1e-5
    assert purification.delta.abs().max() > 0.01, "or it does not matter"


def test_the_model_has_the_masked_weights(problem):
    purification = begun(problem, lr=0.5)
    finish(purification)
    closed = 0
    for name, mask in purification.masks.items():
        assert mask.min() >= 0 and mask.max() <= 1
        whole = problem.model.get_submodule(name).weight
        assert torch.equal(purification.model.get_submodule(name).weight, mask * whole)
        closed += int((mask == 0).sum())
    assert closed and f"{closed:,} are closed" in purification.summary()["did"]
    assert torch.equal(purification.model.linear.weight, problem.model.linear.weight)
    assert not torch.equal(purification.model.bn.running_mean, problem.model.bn.running_mean)


@pytest.mark.parametrize("mode", ["eval", "clean", "recalibrate"])
def test_statistics_of_batch_norm_as_asked(problem, mode):
    purification = begun(problem, batch_norm=mode)
    seen = [purification.model.bn.running_mean.clone() for _ in purification]
    before = problem.model.bn.running_mean
    changed = [not torch.allclose(mean, before, atol=1e-6) for mean in seen]
    assert changed[-1] == (mode == "recalibrate"), "the model came with those of its clean images"
    assert not any(changed[:-1])


def test_a_weight_that_only_the_backdoor_needs_is_closed():
    """A unit that sees the first pixel alone, which is nearly black in clean images."""
    planted = planting.problem(asleep=1.0, push=1.0)
    _flat, first, _norm, relu, last = planted.model
    model = nn.Sequential(nn.Flatten(), first, relu, last)
    with torch.no_grad():
        first.weight[: planting.PLANTED] *= 0.2
        first.weight[planting.PLANTED, 0] = 30.0
    planted = replace(planted, model=model.eval())
    wanted = planting.triggered(planting.images(200, seed=4))
    assert accuracy(model, wanted) == 1.0
    purification = AWM(lr=0.02, steps=60).purify(planted)
    purification.batches.augmentation = "none"  # a shift would move what the units see
    finish(purification)
    assert purification.masks["1"][planting.PLANTED, 0] < 0.05, "from the trigger to the unit"
    assert accuracy(purification.model, wanted) < 0.5
    start = accuracy(model, planted.validation)
    assert accuracy(purification.model, planted.validation) >= start - 0.01


def test_the_rule_goes_through_values_of_gamma():
    defense = AWM(gamma=0.0, steps=2, lr=0.3, batch_size=60, round_steps=1)
    purification = defense.purify(planting.problem(asleep=1.0, push=0.4))
    events = finish(purification)
    tried = [event.tried for event in events if isinstance(event, Choosing)]
    assert tried[0] == 1e-4 and len(set(tried)) == len(tried) > 1
    about = purification.summary()
    assert about["gamma"] in tried and "gamma" in about["why"]
    assert defense.with_choices_made(purification.problem, steps=7).gamma == 1e-4


def test_a_transformer_has_masks_on_its_linear_layers(problem):
    torch.manual_seed(0)
    vit = replace(problem, model=models.build("vit_tiny", 12).eval())
    names = list(short("awm").purify(vit).masks)
    assert "embed" in names and "block1.q" in names and "linear" not in names
