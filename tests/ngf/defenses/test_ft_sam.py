"""FT-SAM against two passes written out, and against finite differences; float64."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ngf.defenses.contract import Problem
from ngf.defenses.fine_tuning.choosing import begin
from ngf.defenses.fine_tuning.loop import FineTuning
from ngf.defenses.ft_sam import FTSAM, perturbation
from tests.helpers.purifications import short

RHO, SMOOTHING, CLASSES = 0.7, 0.1, 12


def smoothed(logits: Tensor, labels: Tensor) -> Tensor:
    """0.9 for the label, the rest in equal parts for the others."""
    shares = torch.full_like(logits, SMOOTHING / (CLASSES - 1))
    shares.scatter_(1, labels[:, None], 1 - SMOOTHING)
    return -(shares * logits.log_softmax(1)).sum(1).mean()


def one_step(wide: Problem, rho: float = RHO) -> tuple[FineTuning, nn.Module, Tensor, Tensor, dict]:
    """A first step at a rate of nearly nothing: the tuning after it, the model before, images and
    labels of its batch, and the direction.
    """
    defense = short("ft_sam", rho=rho, lr=1e-30, label_smoothing=SMOOTHING)
    tuning = begin(defense, wide, "all", defense.rate)
    before, seen, found = copy.deepcopy(tuning.model), [], {}
    tuning.model.normalize.register_forward_hook(lambda _m, images, _o: seen.append(images[0]))
    direction = tuning.rule.direction

    def watched(batch, rate, step):
        chosen = direction(batch, rate, step)
        found.update(labels=batch.labels, **chosen.matrices)
        return chosen

    tuning.rule.direction = watched
    next(iter(tuning))
    labels = found.pop("labels")
    return tuning, before, seen[0], labels, found


def gradients(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    parameters = dict(model.named_parameters())
    found = torch.autograd.grad(smoothed(model(images), labels), list(parameters.values()))
    return dict(zip(parameters, found, strict=True))


def climbed(model: nn.Module, images: Tensor, labels: Tensor) -> nn.Module:
    """The model at w + rho (w^2 . g) / | |w| . g |, written out parameter by parameter."""
    model = copy.deepcopy(model).train().requires_grad_(True)
    steepest = gradients(model, images, labels)
    parameters = dict(model.named_parameters())
    length = sum((parameters[n].abs() * g).square().sum() for n, g in steepest.items()).sqrt()
    with torch.no_grad():
        for name, g in steepest.items():
            w = parameters[name]
            w.add_(RHO * w.square() * g / length)
    return model


def test_the_gradient_is_that_at_the_climbed_weights(wide):
    tuning, before, images, labels, found = one_step(wide)
    wanted = gradients(climbed(before, images, labels), images, labels)
    plain = gradients(copy.deepcopy(before).train().requires_grad_(True), images, labels)
    for name, matrix in found.items():
        weight, bias = wanted[f"{name}.weight"], wanted.get(f"{name}.bias")
        mine = matrix if bias is None else matrix[:, :-1]
        assert torch.allclose(mine.reshape(weight.shape), weight, rtol=1e-9, atol=1e-13), name
        if bias is not None:
            assert torch.allclose(matrix[:, -1], bias, rtol=1e-9, atol=1e-13), name
    stem = found["stem"].view_as(plain["stem.weight"])
    assert (stem - plain["stem.weight"]).norm() > 0.05 * stem.norm(), "the climb matters"
    # what the optimizer starts from is where it was
    for name, parameter in tuning.model.named_parameters():
        assert torch.allclose(parameter, dict(before.named_parameters())[name], atol=1e-25)


def test_the_gradient_agrees_with_finite_differences(wide):
    _, before, images, labels, found = one_step(wide)
    model = climbed(before, images, labels)
    weight, along = model.stem.weight, found["stem"].view_as(model.stem.weight)
    along, losses = along / along.norm(), []
    for length in (1e-6, -2e-6):  # there, and from there to the other side
        with torch.no_grad():
            weight.add_(length * along)
            losses.append(smoothed(model(images), labels).item())
    slope = (losses[0] - losses[1]) / 2e-6
    # ReLU has kinks on the way
    assert slope == pytest.approx(found["stem"].norm().item(), rel=1e-4)


def test_statistics_of_batch_norm_see_one_pass(wide):
    tuning, before, images, _, _ = one_step(wide)
    before.train()(images)
    for name, value in before.named_buffers():
        assert torch.equal(dict(tuning.model.named_buffers())[name], value), name


def test_the_climb_has_the_radius_in_units_of_the_weights():
    rng = torch.Generator().manual_seed(0)
    weights, slopes = (
        {name: torch.randn(3, 4, generator=rng).double() for name in "ab"} for _ in range(2)
    )
    found = perturbation(weights, slopes, RHO)
    square = sum((found[name] / weights[name]).square().sum() for name in "ab")
    assert square.sqrt().item() == pytest.approx(RHO, rel=1e-12)
    flat = perturbation(weights, {name: torch.zeros(3, 4).double() for name in "ab"}, RHO)
    assert all(not step.any() for step in flat.values())


def test_no_radius_and_no_smoothing_is_plain_fine_tuning(wide):
    ours = begin(short("ft_sam", rho=0.0, label_smoothing=0.0, lr=0.1), wide, "all", 0.1)
    plain = begin(short("sgd", lr=0.1), wide, "all", 0.1)
    losses = [[step.loss for step in tuning] for tuning in (ours, plain)]
    assert losses[0] == losses[1]
    for name, value in plain.model.state_dict().items():
        assert torch.allclose(ours.model.state_dict()[name], value, rtol=1e-12, atol=1e-14), name


def test_labels_are_smoothed_as_the_formula_says():
    rule = FTSAM(label_smoothing=SMOOTHING).rule({}, "")
    logits = torch.randn(5, CLASSES, generator=torch.Generator().manual_seed(0)).double()
    labels = torch.arange(5)
    assert rule.loss(logits, labels).item() == pytest.approx(smoothed(logits, labels).item())
    assert rule.loss(logits, labels) != F.cross_entropy(logits, labels)
