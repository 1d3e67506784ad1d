"""The public code of FIP, written out as it runs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ngf.defenses import fip_as_released
from ngf.defenses.fine_tuning.choosing import begin
from ngf.defenses.fip_as_released import released_trace
from tests.helpers.purifications import short


@pytest.fixture
def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def test_the_term_is_that_of_the_double_loop(model, monkeypatch):
    """Partial sums over tensors, summed over tensors, and a mean over 20 draws."""
    rng = torch.Generator().manual_seed(1)
    images, labels = torch.randn(6, 4, generator=rng).double(), torch.tensor([0, 0, 1, 2, 2, 2])
    tensors = list(model.parameters())
    draws = [[torch.randn(t.shape, generator=rng).double() for t in tensors] for _ in range(20)]

    logs = model(images).log_softmax(1)
    pairs = torch.stack([logs[i, labels[j]] for i in range(6) for j in range(6)])
    gradients = torch.autograd.grad(pairs.mean(), tensors, create_graph=True)
    listed = []
    for draw in draws:
        so_far = torch.zeros(())
        for gradient, v in zip(gradients, draw, strict=True):
            so_far = so_far + (gradient * v).sum()
            listed.append(so_far)
    wanted = sum(listed) / 20

    means = iter([torch.stack(of).mean(0) for of in zip(*draws, strict=True)])
    monkeypatch.setattr(fip_as_released, "_mean_of_normals", lambda like, rng: next(means))
    found = released_trace(model(images), labels, tensors, rng)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-12)
    for mine, theirs in zip(
        torch.autograd.grad(found, tensors), torch.autograd.grad(wanted, tensors), strict=True
    ):
        assert torch.allclose(mine, theirs, rtol=1e-10, atol=1e-14)


def test_the_mean_of_twenty_normals_has_a_twentieth_of_the_variance():
    rng = torch.Generator().manual_seed(0)
    drawn = fip_as_released._mean_of_normals(torch.zeros(200, 200), rng)
    assert drawn.var().item() == pytest.approx(1 / 20, rel=0.03)
    assert abs(drawn.mean().item()) < 0.005


def test_every_fifth_step_is_noisy_and_the_others_are_plain(problem):
    defense = short("fip_as_released", steps=7)
    tuning = begin(defense, problem, "all", defense.rate)
    direction, noisy = tuning.rule.direction, []

    def watched(batch, rate, step):
        found = direction(batch, rate, step)
        if found.matrices is not batch.gradients:
            noisy.append(step)
        assert found.lr == rate
        return found

    tuning.rule.direction = watched
    list(tuning)
    assert noisy == [0, 5]
