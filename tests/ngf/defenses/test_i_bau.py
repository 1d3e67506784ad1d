"""I-BAU: what it descends, by the formulas; float64 where it matters."""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F

from ngf.defenses.unlearning.loop import carriers
from tests.helpers.purifications import short

SIZE, PENALTY = 0.02, 0.3


def steps_of(problem, **options):
    """Purification and events of one round: a search of two steps, then one of unlearning."""
    wanted = {"rounds": 1, "search_steps": 2, "unlearn_steps": 1}
    purification = short("i_bau", **{**wanted, **options}).purify(problem)
    return purification, iter(purification)


def test_the_search_ascends_cross_entropy_within_its_ball(wide, monkeypatch):
    purification, events = steps_of(wide, search_lr=0.5, size=SIZE, penalty=PENALTY)
    shown = []
    draw = purification.batches.draw
    monkeypatch.setattr(
        purification.batches, "draw", lambda rng: shown.append(draw(rng)) or shown[-1]
    )
    change = torch.zeros(1, 3, 32, 32).double()
    next(events)
    for length in (0.5, 1e6):
        object.__setattr__(purification.defense, "search_lr", length)
        event = next(events)
        images, _ = shown[-1]
        change.requires_grad_(True)
        called = wide.model(images).argmax(1)
        logits = wide.model(images + change)
        inner = PENALTY * change.square().sum() - F.cross_entropy(logits, called)
        change = (change - length * torch.autograd.grad(inner, change)[0]).detach()
        change *= min(1.0, SIZE * math.sqrt(3072) / change.norm().item())
        assert torch.allclose(purification.change, change, rtol=1e-10, atol=1e-15)
        assert (event.phase, event.loss) == ("search", None)
        assert event.fooled == (logits.argmax(1) != called).float().mean().item()
    assert change.square().mean().sqrt().item() > 0.999 * SIZE
    for name, value in wide.model.state_dict().items():
        assert torch.equal(purification.model.state_dict()[name], value), "a search moves no weight"


def test_without_the_answer_it_descends_plain_cross_entropy(wide):
    """Adam's first step is the rate along the signs."""
    purification, events = steps_of(wide, iterations=0, share=0.5, lr=1e-3)
    for event in events:
        if event.step == 2:
            break
    change, model = purification.change.clone(), copy.deepcopy(wide.model).requires_grad_(True)
    rng = torch.Generator().manual_seed(2)
    images, labels = purification.batches.draw(rng)
    carry = carriers(images, 0.5, rng)
    assert len(carry) == 12 == len(set(carry.tolist()))
    images[carry] += change
    weights = list(model.parameters())
    gradients = torch.autograd.grad(F.cross_entropy(model(images), labels), weights)
    assert next(events).phase == "unlearn"
    for weight, gradient, now in zip(
        weights, gradients, purification.model.parameters(), strict=True
    ):
        moved = (now - weight).detach()
        clear = gradient.abs() > 1e-6
        assert torch.allclose(moved[clear], -1e-3 * gradient.sign()[clear], rtol=0.02)


def test_the_answer_changes_the_step(wide):
    ends = []
    for iterations in (0, 3):
        purification, events = steps_of(wide, iterations=iterations, fixed_point_step=1.0)
        list(events)
        ends.append(torch.cat([value.flatten() for value in purification.weights]))
    assert (ends[0] - ends[1]).abs().max() > 1e-4


def test_one_image_carries_it_at_least():
    images = torch.zeros(5, 1, 2, 2)
    assert len(carriers(images, 0.01, torch.Generator().manual_seed(0))) == 1
    assert len(carriers(images, 1.0, torch.Generator().manual_seed(0))) == 5
