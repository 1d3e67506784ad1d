"""Where the backdoor is said to live."""

import copy

import pytest
import torch

from ngf import models
from ngf.defenses.fine_tuning.events import Chosen, LayerScore
from tests.helpers.purifications import finish, short


@pytest.mark.parametrize("criterion", ["auto", "fisher"])
def test_a_chosen_layer_has_a_score_near_the_highest(criterion, problem):
    events = finish(short("ngf", layer=criterion).purify(problem))
    scores = {event.layer: event.score for event in events if isinstance(event, LayerScore)}
    chosen = next(event for event in events if isinstance(event, Chosen))
    assert set(scores) == set(models.tunable_layers(problem.model))
    assert scores[chosen.layer] >= max(scores.values()) - (0.1 if criterion == "auto" else 0)
    assert "clean" in chosen.why


def test_auto_takes_the_largest_trace_among_near_scores():
    from ngf.defenses.fine_tuning.layer_choice import pick

    traces = {"a": 9.0, "b": 1.0, "c": 2.0}
    assert pick({"a": 0.5, "b": 0.8, "c": 0.75}, traces) == "c"
    assert pick({"a": 0.71, "b": 0.8, "c": 0.75}, traces) == "a"


def test_the_probe_finds_a_planted_back_door():
    """A model that obeys one small pattern: the probe's success is high, and low on the model
    without it.
    """
    from ngf.defenses.fine_tuning.layer_choice import highest_success, universal_perturbations

    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(80) % 4
    blocks = torch.eye(4).repeat_interleave(
        48, dim=1
    )  # class k is bright in the k-th quarter of the pixels
    images = (0.3 + 0.3 * blocks[labels] + 0.01 * torch.randn(80, 192, generator=rng)).view(
        80, 3, 8, 8
    )
    pattern = torch.randn(192, generator=rng).sign()
    pattern -= pattern.mean()
    benign = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4, bias=False))
    with torch.no_grad():
        benign[1].weight.copy_(blocks)
        planted = copy.deepcopy(benign)
        planted[1].weight[2] += 3 * pattern
    benign.requires_grad_(False)
    planted.requires_grad_(False)
    changes = universal_perturbations(planted, images, 4, seed=0)
    assert changes.abs().max() <= 12 / 255 + 1e-6
    assert highest_success(planted, images, labels, changes) > 0.9
    assert highest_success(benign, images, labels, changes) < 0.1
