"""NFT's masks against their definition, in float64."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.func import functional_call

from ngf import models
from ngf.defenses.contract import Problem
from ngf.defenses.fine_tuning.choosing import begin
from ngf.defenses.fine_tuning.loop import FineTuning
from ngf.options import SpecError
from tests.helpers.purifications import short

PENALTY = 30.0  # far more than usual, so that it would be missed


def tuning_of(problem: Problem, **options) -> FineTuning:
    defense = short("nft", **options)
    return begin(defense, problem, "all", defense.rate)


def batch_norms(model: nn.Module) -> list[str]:
    return [name for name, one in model.named_modules() if isinstance(one, nn.BatchNorm2d)]


def test_masks_descend_the_loss_of_mixed_images_and_the_penalty(wide):
    """CE + (penalty / N_c) sum |1 - m| with w = m w0, by autograd with respect to m."""
    tuning = tuning_of(wide, penalty=PENALTY, lr=0.05, alpha=0.1)
    per_class = 60 / 12
    shown = []
    tuning.model.normalize.register_forward_hook(lambda _m, images, _o: shown.append(images[0]))
    direction, seen = tuning.rule.direction, []

    def watched(batch, rate, step):
        masks = {n: m.clone().requires_grad_(True) for n, m in tuning.rule.masks.items()}
        weights = {f"{n}.weight": m * wide.model.get_submodule(n).weight for n, m in masks.items()}
        images = shown[-1]
        logits = functional_call(copy.deepcopy(tuning.model), weights, (images,))
        loss = -(batch.labels * logits.log_softmax(1)).sum(1).mean()
        loss = loss + PENALTY / per_class * sum((1 - m).abs().sum() for m in masks.values())
        wanted = torch.autograd.grad(loss, list(masks.values()))
        found = direction(batch, rate, step)
        for name, steepest in zip(masks, wanted, strict=True):
            mine = tuning.rule.masks[name].grad
            assert torch.allclose(mine, steepest, rtol=1e-9, atol=1e-12), name
        assert found.matrices == {}
        seen.append(step)
        return found

    tuning.rule.direction = watched
    list(tuning)
    assert seen == [0, 1, 2]
    assert list(tuning.rule.masks) == batch_norms(tuning.model)
    assert tuning.num_parameters() == sum(mask.numel() for mask in tuning.rule.masks.values())


def test_weights_are_masks_times_what_they_were_within_the_bounds(wide):
    tuning = tuning_of(wide, lr=5.0, steps=6, alpha=0.8, beta=0.5, batch_norm="eval")
    touched = 0
    for _ in tuning:
        for place, name in enumerate(batch_norms(tuning.model), start=1):
            layer, before = tuning.model.get_submodule(name), wide.model.get_submodule(name)
            mask, least = tuning.rule.masks[name], 0.8 * math.exp(-0.5 * place)
            assert torch.equal(layer.weight, mask * before.weight)
            assert mask.min() >= least - 1e-12 and mask.max() <= 1
            touched += int((mask == mask.new_tensor(least)).sum()) + int((mask == 1).sum())
            assert torch.equal(layer.bias, before.bias)
    assert touched
    masked = {f"{name}.weight" for name in batch_norms(tuning.model)}
    for name, value in tuning.model.state_dict().items():
        assert torch.equal(value, wide.model.state_dict()[name]) == (name not in masked), name


def test_a_batch_is_mixed_with_itself_and_its_labels_with_it(problem):
    tuning = tuning_of(problem)
    rng = torch.Generator().manual_seed(4)
    images, labels = torch.rand(8, 3, 4, 4), torch.arange(8)
    mixed, shares = tuning.rule.mixed(images, labels, rng)
    again = torch.Generator().manual_seed(4)
    share = torch.rand((), generator=again).item()
    other = torch.randperm(8, generator=again)
    assert torch.allclose(mixed, share * images + (1 - share) * images[other])
    assert shares.shape == (8, 12) and torch.allclose(shares.sum(1), torch.ones(8))
    for k in range(8):
        assert shares[k, k] >= share - 1e-6 and shares[k, other[k]] >= 1 - share - 1e-6
    lambdas = [
        tuning.rule.mixed(images, labels, torch.Generator().manual_seed(seed))[1].max(1).values[0]
        for seed in range(40)
    ]
    assert min(lambdas) < 0.55 and max(lambdas) > 0.95


def test_neurons_without_batch_norm_are_masked_on_their_weights(problem):
    torch.manual_seed(0)
    model = models.build("vit_tiny", 12)
    small = replace(problem, model=model)
    tuning = tuning_of(small, lr=1.0)
    list(tuning)
    linear = [n for n, one in model.named_modules() if isinstance(one, nn.Linear)]
    assert list(tuning.rule.masks) == [name for name in linear if name != "linear"]
    now = tuning.model.state_dict()
    moved = {key for key, value in model.state_dict().items() if not torch.equal(value, now[key])}
    assert moved and moved <= {f"{name}.weight" for name in tuning.rule.masks}
    up = tuning.model.get_submodule("block1.up")
    assert torch.equal(up.weight, tuning.rule.masks["block1.up"][:, None] * model.block1.up.weight)


def test_a_classifier_alone_has_no_neurons_to_mask(problem):
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 12))
    with pytest.raises(SpecError, match="none that can be masked"):
        short("nft").purify(replace(problem, model=model))
