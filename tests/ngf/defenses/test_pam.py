"""PAM's gradient: where it is taken, against finite differences, in float64."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ngf.defenses.pam import PAM
from ngf.defenses.unlearning.decoupling import DecoupledUnlearning
from ngf.defenses.unlearning.loop import carriers

RHO = 0.05


def after_some_steps(problem, rho: float) -> DecoupledUnlearning:
    """One step of masking, one of search, and two of unlearning; the third is to come."""
    purification = PAM(
        rounds=1, mask_steps=1, search_steps=1, unlearn_steps=3, batch_size=10, rho=rho, lr=1e-3
    ).purify(problem)
    for event in purification:
        if event.step == 4:
            return purification
    raise AssertionError


def flat(tensors) -> Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def gradient_taken(purification: DecoupledUnlearning, monkeypatch) -> Tensor:
    taken: list[Tensor] = []
    descend = purification.descend

    def watched(gradients, lr):
        taken.append(flat(gradients))
        descend(gradients, lr)

    monkeypatch.setattr(purification, "descend", watched)
    assert next(iter(purification)).phase == "unlearn"
    return taken[0]


def loss_at(purification: DecoupledUnlearning, weights: Tensor, features: Tensor | None) -> tuple:
    """The loss of the third step at some weights, and h(x); with h(x) given, it stays."""
    model = copy.deepcopy(purification.model)
    nn.utils.vector_to_parameters(weights, model.parameters())
    rng = torch.Generator().manual_seed(4)
    images, labels = purification.batches.draw(rng)
    carry = carriers(images, purification.defense.share, rng)
    entering: list[Tensor] = []
    model.linear.register_forward_pre_hook(lambda _m, inputs: entering.append(inputs[0]))
    with torch.no_grad():
        model(images[carry])
        mixed = images.clone()
        mixed[carry] = purification.generator(images[carry])
        logits = model(mixed)
    clean = entering[0] if features is None else features
    apart = (entering[1][carry] - clean).square().mean() / clean.square().mean()
    return (F.cross_entropy(logits, labels) + apart).item(), clean


def test_a_gradient_is_that_on_the_way_back(wide, monkeypatch):
    purification = after_some_steps(wide, RHO)
    here, start = flat(purification.weights), flat(wide.model.parameters())
    assert (start - here).norm() > 2 * RHO
    there = here + RHO * (start - here) / (start - here).norm()
    before = copy.deepcopy(purification)
    found = gradient_taken(purification, monkeypatch)
    rng = torch.Generator().manual_seed(0)
    for _ in range(3):
        along = torch.randn(here.shape, generator=rng).double() * found.abs()
        along /= along.norm()
        _, features = loss_at(before, there, None)
        ahead, behind = (loss_at(before, there + s * along, features)[0] for s in (1e-6, -1e-6))
        # ReLU has kinks on the way
        assert (ahead - behind) / 2e-6 == pytest.approx((found @ along).item(), rel=1e-3)
    plain = gradient_taken(before_without(before), monkeypatch)
    assert (plain - found).norm() > 1e-3 * found.norm(), "the way back matters"


def before_without(purification: DecoupledUnlearning) -> DecoupledUnlearning:
    """The same state with no way back."""
    object.__setattr__(purification.defense, "rho", 0.0)
    return purification


def test_the_way_back_ends_where_the_model_came_from(wide):
    purification = after_some_steps(wide, 1e3)
    here, start = flat(purification.weights), flat(wide.model.parameters())
    with purification.moved_back():
        assert torch.allclose(flat(purification.weights), start, rtol=0, atol=1e-15)
    assert torch.equal(flat(purification.weights), here), "and back again, to the last bit"


def test_at_the_start_there_is_no_way_back(wide):
    purification = PAM(rounds=1, search_steps=1, unlearn_steps=1).purify(wide)
    with purification.moved_back():
        assert torch.equal(flat(purification.weights), flat(wide.model.parameters()))
