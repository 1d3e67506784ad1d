"""MCR against its formula: the curve, its gradient, and a curve between two known minima."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from ngf.data.images import Images, to_float
from ngf.defenses.contract import Problem
from ngf.defenses.fine_tuning.choosing import begin
from ngf.defenses.fine_tuning.loop import recalibrate
from ngf.defenses.mcr import Curve
from ngf.finite import check_weights
from tests.helpers.purifications import finish, short


def weights_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach() for name, value in model.named_parameters()}


def some_weights(seed: int) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return {name: torch.randn(3, 4, generator=rng).double() for name in "ab"}


def test_the_curve_passes_through_both_ends_and_begins_as_a_line():
    start, end = some_weights(0), some_weights(1)
    curve = Curve(start, end)
    for name in "ab":
        assert torch.equal(curve.at(0.0)[name], start[name])
        assert torch.equal(curve.at(1.0)[name], end[name])
        line = 0.7 * start[name] + 0.3 * end[name]
        assert torch.allclose(curve.at(0.3)[name], line, rtol=1e-14)
        bend = curve.bend[name]
        with torch.no_grad():
            bend.add_(1.0)
        wanted = 0.49 * start[name] + 0.42 * bend + 0.09 * end[name]
        assert torch.allclose(curve.at(0.3)[name], wanted, rtol=1e-14)
        assert torch.equal(curve.at(1.0)[name], end[name])


def test_the_gradient_of_the_bend_agrees_with_finite_differences(wide):
    other = copy.deepcopy(wide.model)
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in other.parameters():
            value.add_(0.1 * value.std() * torch.randn(value.shape, generator=rng))
    curve = Curve(weights_of(wide.model), weights_of(other))
    images, labels = wide.clean.images[:24].double() / 255, wide.clean.labels[:24]
    model = copy.deepcopy(wide.model).train()
    t = 0.3
    names = ["stem.weight", "stage2.block1.conv1.weight", "bn.weight", "linear.bias"]
    slopes = torch.autograd.grad(
        curve.loss(model, t, images, labels), [curve.bend[name] for name in names]
    )
    for name, slope in zip(names, slopes):
        losses = []
        for length in (1e-6, -2e-6):  # there, and from there to the other side
            with torch.no_grad():
                curve.bend[name].add_(length * slope / slope.norm())
                losses.append(curve.loss(model, t, images, labels).item())
        with torch.no_grad():
            curve.bend[name].add_(1e-6 * slope / slope.norm())
        assert (losses[0] - losses[1]) / 2e-6 == pytest.approx(slope.norm().item(), rel=1e-4), name
    # and is 2 t (1 - t) times that at the place itself
    there = copy.deepcopy(model).requires_grad_(True)
    there.load_state_dict(curve.at(t), strict=False)
    loss = nn.functional.cross_entropy(there(images), labels)
    direct = torch.autograd.grad(loss, [there.get_parameter(name) for name in names])
    for mine, plain in zip(slopes, direct):
        assert torch.allclose(mine, 2 * t * (1 - t) * plain, rtol=1e-8, atol=1e-12)


@pytest.fixture(scope="module")
def minima() -> tuple[Problem, nn.Module, nn.Module]:
    """A small network that tells apart circle and ring, and the same with its units in another
    order: both have the same loss, the line between them does not.
    """
    rng = torch.Generator().manual_seed(0)
    angle, radius = torch.rand(2, 400, generator=rng) * torch.tensor([[2 * math.pi], [1.0]])
    radius = torch.where(radius > 0.5, radius + 0.2, radius - 0.2)
    spots = 0.5 + 0.4 * radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    pixels = (255 * spots).clamp(0, 255).to(torch.uint8).view(-1, 2, 1, 1)
    clean = Images(pixels, (radius > 0.5).long())
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(300):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(to_float(pixels)), clean.labels).backward()
        optimizer.step()
    other, order = copy.deepcopy(model), torch.randperm(16, generator=rng)
    with torch.no_grad():
        other[1].weight.copy_(model[1].weight[order])
        other[1].bias.copy_(model[1].bias[order])
        other[3].weight.copy_(model[3].weight[:, order])
    return Problem(model.eval(), clean, clean, seed=0), model, other


def test_a_bend_between_two_minima_goes_around_the_hill(minima):
    problem, one, other = minima
    images, labels = to_float(problem.clean.images), problem.clean.labels
    purification = short(
        "mcr", steps=150, end_share=0.0, lr=0.5, batch_size=400, augmentation="weak"
    ).purify(problem)
    purification.batches.augmentation = "none"  # two numbers are no picture
    purification._begin(Curve(weights_of(one), weights_of(other)))

    def loss(t: float) -> float:
        with torch.no_grad():
            return purification.curve.loss(one, t, images, labels).item()

    ends, hill = max(loss(0.0), loss(1.0)), loss(0.5)
    assert ends < 0.1 and hill > 5 * ends
    finish(purification)
    assert max(loss(t) for t in (0.25, 0.5, 0.75)) < 0.3 * hill
    assert loss(0.0) < 0.1 and loss(1.0) < 0.1


def test_the_far_end_is_a_plain_fine_tuning_and_the_model_waits_for_it(problem):
    purification = short("mcr", steps=5, end_share=0.6, end_lr=0.1).purify(problem)
    events = []
    for event in purification:
        events.append(event)
        assert (event.distance == 0) == (event.phase == "end")
    plain = begin(short("sgd", lr=0.1, steps=3), problem, "all", 0.1)
    assert [event.loss for event in events[1:4]] == [step.loss for step in plain]
    assert [event.phase for event in events] == ["end"] * 4 + ["bend"] * 2
    for name, value in plain.model.named_parameters():
        assert torch.equal(purification.curve.at(1.0)[name], value), name
        assert torch.equal(purification.curve.at(0.0)[name], problem.model.get_parameter(name))


@pytest.mark.parametrize("t", [0.2, 1.0])
def test_the_model_is_the_place_t_with_statistics_of_its_own(t, problem):
    purification = short("mcr", steps=4, end_share=0.5, t=t).purify(problem)
    finish(purification)
    wanted = copy.deepcopy(problem.model)
    wanted.load_state_dict(purification.curve.at(t), strict=False)
    recalibrate(wanted, problem.clean)
    for name, value in wanted.state_dict().items():
        assert torch.equal(purification.model.state_dict()[name], value), name
    assert purification.summary()["did"].startswith(f"went to t = {t:g} of a curve")
    check_weights(purification.model.state_dict())


def test_the_rule_takes_the_middle_unless_that_harms(problem, monkeypatch):
    """The model here is not trained, so nothing harms."""
    purification = short("mcr", t=0.0).purify(problem)
    tried = [event.tried for event in finish(purification) if event.kind == "choosing"]
    about = purification.summary()
    assert tried == [0.5] and about["t"] == 0.5
    assert about["why"].startswith("0.5 is the largest place on the curve tried that keeps")

    monkeypatch.setattr(
        "ngf.defenses.judging.Judge.after",
        lambda judge, tune, tolerated: judge.start - (0.2 if tune.args[0] > 0.3 else 0.0),
    )
    purification = short("mcr", t=0.0).purify(replace(problem))
    tried = [event.tried for event in finish(purification) if event.kind == "choosing"]
    assert tried == [0.5, 0.05, 0.2] and purification.summary()["t"] == 0.2
