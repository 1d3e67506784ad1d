"""Unlearning against its formula."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from ngf.defenses.batches import Batches
from ngf.defenses.masking.ascent import Ascent
from ngf.finite import Diverged
from tests.helpers import planted as planting

LR, DECAY = 0.05, 0.01


def ascent(model, until: float = 0.3, steps: int = 50, lr: float = LR) -> Ascent:
    batches = Batches(planting.problem(asleep=1.0, push=1.0), 100, "none")
    return Ascent(model, batches, lr=lr, momentum=0.5, weight_decay=DECAY, until=until, steps=steps)


def rng(step: int) -> torch.Generator:
    return torch.Generator().manual_seed(step)


def test_weights_ascend_the_loss_and_decay():
    before = planting.backdoored(asleep=1.0, push=1.0)
    climbing = ascent(copy.deepcopy(before))
    images, labels = climbing.batches.draw(rng(0))
    loss = F.cross_entropy(before.train()(images), labels)
    slopes = torch.autograd.grad(loss, list(before.parameters()))
    assert climbing.advance(rng(0)) == loss.item()
    for old, new, slope in zip(
        before.parameters(), climbing.network.parameters(), slopes, strict=True
    ):
        assert torch.allclose(new, old + LR * slope - LR * DECAY * old, atol=1e-7)
    assert torch.equal(climbing.network[2].running_mean, before[2].running_mean)


def test_it_ends_where_next_to_nothing_is_called_right():
    climbing, losses = ascent(planting.backdoored(asleep=1.0, push=1.0), lr=0.3), []
    for step in range(50):
        if not climbing.left:
            break
        kept = copy.deepcopy(list(climbing.network.parameters()))
        losses.append(climbing.advance(rng(step)))
    assert losses[-1] > 2 * losses[0] and 2 < len(losses) < 50
    assert climbing.accuracy <= 0.3
    assert all(torch.equal(a, b) for a, b in zip(kept, climbing.network.parameters(), strict=True))


def test_it_ends_after_its_steps_at_the_latest():
    climbing = ascent(planting.backdoored(asleep=1.0, push=1.0), until=0.0, steps=2)
    for step in range(2):
        assert climbing.left == 2 - step
        climbing.advance(rng(step))
    assert climbing.left == 0 and climbing.accuracy > 0.3


def test_what_diverges_says_so():
    climbing = ascent(planting.backdoored(asleep=1.0, push=1.0), until=0.0, lr=1e30)
    with pytest.raises(Diverged, match="The loss of unlearning"):
        for step in range(5):
            climbing.advance(rng(step))
