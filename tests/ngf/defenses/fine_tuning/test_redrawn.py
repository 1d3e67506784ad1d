"""FT-init, FE-tuning and FST begin with a new classifier, and not before their first step."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from ngf.defenses.contract import Problem, Step
from ngf.defenses.fine_tuning.events import Chosen
from ngf.defenses.fine_tuning.redrawn import redraw
from ngf.options import SpecError
from tests.helpers.purifications import short

REDRAWN = ("ft_init", "fe_tuning", "fst")


def drawn(problem: Problem) -> nn.Linear:
    """The classifier as the purifications of this problem draw it."""
    layer = copy.deepcopy(problem.model.linear)
    redraw(layer, torch.Generator().manual_seed(problem.seed))
    return layer


def same(model: nn.Module, other: nn.Module) -> bool:
    kept = other.state_dict()
    return all(torch.equal(value, kept[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_the_classifier_is_uniform_within_its_bounds(kind):
    bound = 1 / 8
    layer = nn.Linear(64, 500, dtype=kind)
    redraw(layer, torch.Generator().manual_seed(0))
    for values in (layer.weight.detach(), layer.bias.detach()):
        assert values.dtype == kind and values.abs().max() <= bound
        assert values.min() < -0.97 * bound and values.max() > 0.97 * bound
    spread = layer.weight.detach()  # U(-b, b) has the mean 0 and the variance b^2 / 3
    assert abs(spread.mean()) < 4 * bound / 3**0.5 / spread.numel() ** 0.5
    assert spread.var().item() == pytest.approx(bound**2 / 3, rel=0.02)
    shares = spread.flatten().histc(10, -bound, bound) / spread.numel()
    assert (shares - 0.1).abs().max() < 0.01


@pytest.mark.parametrize("name", REDRAWN)
def test_before_the_first_step_the_model_is_as_it_came(name, problem):
    purification = short(name).purify(problem)
    for event in purification:
        if isinstance(event, Step) and event.step:
            break
        assert same(purification.model, problem.model), event
    assert isinstance(event, Step) and event.step == 1
    assert not torch.equal(purification.model.linear.weight, problem.model.linear.weight)
    # the drawing is a part of the way
    assert event.update_norm == pytest.approx(event.distance, rel=1e-6)


def test_ft_init_draws_once_and_tunes_from_there(problem):
    purification = short("ft_init", lr=1e-9).purify(problem)
    steps = [event for event in purification if isinstance(event, Step)]
    new = drawn(problem)
    assert torch.allclose(purification.model.linear.weight, new.weight, rtol=0, atol=1e-6)
    assert torch.allclose(purification.model.linear.bias, new.bias, rtol=0, atol=1e-6)
    assert steps[1].distance > 1
    assert all(step.update_norm < 1e-6 for step in steps[2:])


def test_fe_tuning_leaves_the_new_classifier_as_it_was_drawn(problem):
    purification = short("fe_tuning", batch_norm="eval").purify(problem)
    chosen = next(event for event in purification if isinstance(event, Chosen))
    list(purification)
    new, now = drawn(problem), purification.model
    assert torch.equal(now.linear.weight, new.weight) and torch.equal(now.linear.bias, new.bias)
    still = {
        name
        for name, parameter in now.named_parameters()
        if torch.equal(parameter, dict(problem.model.named_parameters())[name])
    }
    assert not still, "all that comes before it is tuned"
    size = sum(parameter.numel() for parameter in problem.model.parameters())
    classifier = sum(parameter.numel() for parameter in new.parameters())
    assert chosen.num_parameters == size - classifier


class NoClassifier(nn.Module):
    """Its outputs are no layer's."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 12, 3)

    def forward(self, images):
        return self.one(images).mean((2, 3))


@pytest.mark.parametrize("name", [*REDRAWN, "ngf_as_released"])
def test_a_model_without_a_classifier_is_refused_before_the_start(name, problem):
    bare = Problem(NoClassifier(), problem.clean, None, 0, problem.survives_flip)
    with pytest.raises(SpecError, match="works on the linear layer that makes the logits"):
        short(name).purify(bare)


def test_a_classifier_alone_leaves_fe_tuning_nothing_to_tune(problem):
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 12))
    bare = Problem(model, problem.clean, None, 0, problem.survives_flip)
    with pytest.raises(SpecError, match="no layer there that can be tuned"):
        short("fe_tuning").purify(bare)
