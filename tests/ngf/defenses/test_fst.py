"""FST against its formula."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from ngf.defenses.fine_tuning.choosing import begin
from tests.helpers.purifications import short

ALPHA = 0.3


def test_the_classifier_keeps_its_first_length(wide):
    old = wide.model.linear.weight.norm().item()
    purification = short("fst", alpha=ALPHA, lr=0.3).purify(wide)
    lengths, directions = [], set()
    for event in purification:
        if getattr(event, "step", 0):
            weight = purification.model.linear.weight.detach()
            lengths.append(weight.norm().item())
            directions.add(round(weight[0, 0].item(), 6))
    assert lengths == pytest.approx([old] * 3, rel=1e-14) and len(directions) == 3
    assert not torch.equal(purification.model.linear.bias, wide.model.linear.bias)


def test_the_inner_product_adds_its_gradient(wide):
    """Against autograd, of the whole loss."""
    defense = short("fst", alpha=ALPHA)
    tuning = begin(defense, wide, "all", defense.rate)
    direction, seen = tuning.rule.direction, []

    def watched(batch, rate, step):
        found = direction(batch, rate, step)
        weight, bias = tuning.model.linear.weight, tuning.model.linear.bias
        old = wide.model.linear.weight.detach()
        loss = F.cross_entropy(batch.logits, batch.labels) + ALPHA * (weight * old).sum()
        steepest = torch.autograd.grad(loss, [weight, bias], retain_graph=True)
        wanted = torch.cat([steepest[0], steepest[1][:, None]], 1)
        assert torch.allclose(found.matrices["linear"], wanted, rtol=1e-12, atol=1e-15)
        assert not torch.allclose(found.matrices["linear"], batch.gradients["linear"], atol=1e-3)
        assert found.matrices["stem"] is batch.gradients["stem"]
        seen.append(step)
        return found

    tuning.rule.direction = watched
    list(tuning)
    assert seen == [0, 1, 2]
