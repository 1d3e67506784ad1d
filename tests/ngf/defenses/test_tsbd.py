"""TSBD against its formulas."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ngf import models
from ngf.defenses.contract import Choosing
from ngf.defenses.tsbd import TSBD, most_changed
from ngf.evaluate import accuracy
from tests.helpers import planted as planting
from tests.helpers.purifications import finish, short

ALPHA, RADIUS, H = 0.7, 0.2, 1e-6


def test_the_most_changed_weights_of_the_most_changed_neurons():
    """Five neurons in two layers, of four and two weights; two of them are taken, and half of
    their weights.
    """
    changes = {
        "a": torch.tensor([[1.0, 2, 3, 4], [0, 0, 0, 9], [5, 5, 1, 5]]).view(3, 1, 2, 2),
        "b": torch.tensor([[4.0, 5.0], [7.0, 6.0]]),
    }
    gone = most_changed(changes, neurons=0.4, weights=0.5)
    assert gone["a"].flatten(1).int().tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0]]
    assert gone["b"].int().tolist() == [[0, 0], [1, 0]]
    one = most_changed(changes, neurons=0.0, weights=0.01)
    assert sum(int(part.sum()) for part in one.values()) == 1, "one at least"
    whole = most_changed(changes, neurons=1.0, weights=1.0)
    assert all(part.all() for part in whole.values())


def test_three_stages(problem):
    defense = short("tsbd", neurons=0.25, unlearn_steps=4, unlearn_until=0.0)
    purification = defense.purify(problem)
    unlearned, before = None, copy.deepcopy(problem.model.state_dict())
    for event in purification:
        if event.phase == "unlearn":
            assert all(
                torch.equal(value, before[name])
                for name, value in purification.model.state_dict().items()
            )
            unlearned = copy.deepcopy(purification.ascent.network)
        elif event.phase == "prune":
            pruned = copy.deepcopy(purification.model)
            assert event.loss is None and event.kept < 1
    changes = {
        name: (unlearned.get_submodule(name).weight - layer.weight).detach().abs()
        for name, layer in models.tunable_layers(problem.model).items()
        if name != "linear"
    }
    gone = most_changed(changes, neurons=0.25, weights=0.7)
    for name, entries in gone.items():
        whole = problem.model.get_submodule(name).weight
        assert torch.equal(pruned.get_submodule(name).weight, whole.masked_fill(entries, 0))
        rows = entries.flatten(1).any(1)
        assert (entries.flatten(1).sum(1)[rows] == round(0.7 * whole[0].numel())).all()
    zeroed = sum(int(entries.sum()) for entries in gone.values())
    about = purification.summary()["did"]
    assert f"set {zeroed:,} weights in 84 of 336 neurons to zero" in about
    assert "tuned all layers in 3 steps at learning rate 0.05" in about
    for name, value in pruned.named_parameters():
        assert not torch.equal(value, purification.model.get_parameter(name)), name


def test_steps_become_fewer_where_unlearning_ends(problem):
    purification = short("tsbd", unlearn_until=1.0, unlearn_steps=80).purify(problem)
    assert purification.steps == 80 + 1 + 3
    events = finish(purification)
    assert [event.phase for event in events] == ["unlearn"] * 2 + ["prune"] + ["tune"] * 3
    assert events[-1].steps == 5


def smooth(problem):
    """A network without kinks, in float64, with a batch of all images."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.Tanh(), nn.Linear(5, 4)).double()
    return replace(problem, model=model.eval())


def test_the_gradient_is_mixed_with_that_further_up(monkeypatch):
    """And for a small radius it is that of CE + a r |grad CE|, by finite differences."""
    monkeypatch.setattr("ngf.defenses.batches.to_float", lambda images: images.double() / 255)
    monkeypatch.setattr(
        "ngf.defenses.fine_tuning.loop.to_float", lambda images: images.double() / 255
    )
    problem = smooth(planting.problem(asleep=1.0, push=0.4))
    radius = 1e-5
    defense = TSBD(alpha=ALPHA, radius=radius, unlearn_steps=1, batch_size=200, lr=1e-3)
    purification = defense.purify(problem)
    steps = iter(purification)
    while purification.tuning is None:
        next(steps)
    tuning, found = purification.tuning, {}
    shown, direction = [], tuning.rule.direction
    tuning.model[0].register_forward_hook(lambda _m, images, _o: shown.append(images[0]))

    def watched(batch, lr, step):
        chosen = direction(batch, lr, step)
        found.update(labels=batch.labels, matrices=chosen.matrices)
        return chosen

    tuning.rule.direction = watched
    model = copy.deepcopy(tuning.model).requires_grad_(True)
    next(steps)
    labels, images = found["labels"], shown[0]

    def slopes(model):
        return torch.autograd.grad(F.cross_entropy(model(images), labels), model.parameters())

    def penalized() -> float:
        length = torch.cat([slope.flatten() for slope in slopes(model)]).norm()
        return (F.cross_entropy(model(images), labels) + ALPHA * radius * length).item()

    here = slopes(model)
    length = torch.cat([slope.flatten() for slope in here]).norm()
    further = copy.deepcopy(model)
    with torch.no_grad():
        for parameter, slope in zip(further.parameters(), here, strict=True):
            parameter.add_(radius / length * slope)
    wanted = [(1 - ALPHA) * a + ALPHA * b for a, b in zip(here, slopes(further), strict=True)]
    mine = found["matrices"]["1"]
    assert torch.allclose(mine[:, :-1], wanted[0], rtol=1e-10, atol=1e-14)
    assert torch.allclose(mine[:, -1], wanted[1], rtol=1e-10, atol=1e-14)

    weight, values = model[3].weight, []
    for step in (1e-4, -1e-4):
        with torch.no_grad():
            weight[1, 2] += step
        values.append(penalized())
        with torch.no_grad():
            weight[1, 2] -= step
    bend = (values[0] - values[1]) / 2e-4 - here[2][1, 2].item()
    moved = found["matrices"]["3"][1, 2].item() - here[2][1, 2].item()
    assert moved == pytest.approx(bend, rel=0.02) and moved != 0


def test_a_planted_backdoor_changes_most_and_is_zeroed():
    """BatchNorm divides what its unit sees by next to nothing, so its weights have steep slopes."""
    planted = planting.problem(asleep=1.0, push=0.4)
    wanted = planting.triggered(planting.images(200, seed=4))
    assert accuracy(planted.model, wanted) == 1.0
    purification = TSBD(neurons=1 / planting.UNITS, weights=1.0, unlearn_steps=10).purify(planted)
    purification.ascent.batches.augmentation = "none"  # a shift would move what the units see
    steps = iter(purification)
    while next(steps).phase != "prune":
        pass
    gone = (purification.model[1].weight == 0).all(1)
    assert gone.nonzero().tolist() == [[planting.PLANTED]]
    assert accuracy(purification.model, wanted) < 0.5
    start = accuracy(planted.model, planted.validation)
    assert accuracy(purification.model, planted.validation) >= start - 0.01


def test_the_rule_goes_through_shares():
    defense = TSBD(neurons=0.0, steps=2, batch_size=50, unlearn_steps=2)
    purification = defense.purify(planting.problem(asleep=1.0, push=0.4))
    events = finish(purification)
    tried = [event.tried for event in events if isinstance(event, Choosing)]
    assert len(tried) > 1 and max(tried) <= 0.9
    about = purification.summary()
    assert about["neurons"] in tried and "share" in about["why"]
    assert defense.with_choices_made(purification.problem, steps=7).neurons > 0
