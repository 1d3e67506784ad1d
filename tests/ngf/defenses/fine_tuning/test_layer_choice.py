"""Where the backdoor is said to live."""

import copy

import pytest
import torch

from ngf import models
from ngf.defenses.contract import Problem, Step
from ngf.defenses.fine_tuning.events import Chosen, LayerScore, LeftOut
from ngf.finite import Diverged
from ngf.options import SpecError
from tests.helpers.odd_networks import odd_network
from tests.helpers.purifications import finish, short

TWICE, UNUSED = "it is used twice in a forward pass", "it is not used in a forward pass"


@pytest.fixture
def odd(problem) -> Problem:
    flips = problem.survives_flip
    return Problem(odd_network(), problem.clean, problem.validation, 0, flips)


def told(events) -> tuple[dict[str, str], list[str], Chosen]:
    """Layers left out and why, layers scored, and what was chosen."""
    out = {event.layer: event.why for event in events if isinstance(event, LeftOut)}
    (chosen,) = [event for event in events if isinstance(event, Chosen)]
    return out, [event.layer for event in events if isinstance(event, LayerScore)], chosen


@pytest.mark.parametrize("criterion", ["auto", "fisher"])
@pytest.mark.parametrize("name", ["ngf", "sgd"])
def test_what_cannot_be_tuned_leaves_the_choice_not_the_run(name, criterion, odd):
    out, scored, chosen = told(finish(short(name, layer=criterion).purify(odd)))
    assert out["twice"] == TWICE and out["auxiliary"] == UNUSED
    assert out["mirrored"].startswith("it pads its images by 'reflect'")
    assert set(out) == {"twice", "auxiliary", "mirrored"}
    assert set(scored) == {"head", "stem"} and chosen.layer in scored


@pytest.mark.parametrize(
    "name",
    ["ngf", "sgd", "adam", "ngf_as_released", "fine_pruning"]
    + ["ft_init", "fst", "ft_sam", "super_ft", "fip", "fip_as_released"],
)
def test_all_layers_are_those_that_can_be_tuned(name, odd):
    purification = short(name, layer="all", tolerance=0.5).purify(odd)
    events = finish(purification)
    assert isinstance(events[-1], Step) and events[-1].step == events[-1].steps
    start, now = odd.model.state_dict(), purification.model.state_dict()
    moved = {key.partition(".")[0] for key in now if not torch.equal(now[key], start[key])}
    assert moved >= {"head", "stem"} and not moved & {"twice", "auxiliary"}
    assert ("mirrored" in moved) == (name != "ngf")
    if name != "fine_pruning":
        out, _, chosen = told(events)
        assert set(out) == {"twice", "auxiliary"} | ({"mirrored"} if name == "ngf" else set())
        assert chosen.layer == "all"


@pytest.mark.parametrize("name", ["ngf", "sgd"])
@pytest.mark.parametrize(("layer", "why"), [("twice", TWICE), ("auxiliary", UNUSED)])
def test_a_layer_by_name_that_cannot_be_tuned_is_refused_with_the_reason(name, layer, why, odd):
    with pytest.raises(SpecError, match=f"Layer '{layer}' cannot be tuned: {why}"):
        finish(short(name, layer=layer).purify(odd))


def test_what_only_natural_gradient_cannot_tune_is_refused_there_alone(odd):
    finish(short("sgd", layer="mirrored").purify(odd))
    with pytest.raises(SpecError, match="'mirrored' cannot be tuned: it pads its images by"):
        finish(short("ngf", layer="mirrored").purify(odd))


@pytest.mark.parametrize("batch_norm", ["train", "eval"])
def test_the_last_layer_is_the_head_wherever_it_stands_in_the_list(batch_norm, odd):
    purification = short("ngf", layer="last", batch_norm=batch_norm).purify(odd)
    events = finish(purification)
    assert events[-1].fisher_trace > 0, "the exact step is that of the last linear layer"
    start, now = odd.model.state_dict(), purification.model.state_dict()
    moved = {key.partition(".")[0] for key in now if not torch.equal(now[key], start[key])}
    assert moved - {"bn"} == {"head"}


def at_rate(lr: float):
    """SGD with `auto` at a rate that no form lets through."""
    defense = short("sgd", layer="auto", batch_norm="eval")
    object.__setattr__(defense, "lr", lr)
    return defense


def test_auto_survives_candidates_that_diverge(odd):
    with torch.no_grad():
        odd.model.head.weight.mul_(1e10)  # what flows back into the stem is as much larger
    out, scored, chosen = told(finish(at_rate(1e12).purify(odd)))
    assert "diverged" in out["stem"] and "at step 1" in out["stem"]
    assert scored == ["head"] and chosen.layer == "head"


def test_auto_says_when_every_candidate_diverges(odd):
    with pytest.raises(
        Diverged, match=r"Every layer that was tried diverges at learning rate 1e\+30"
    ):
        finish(at_rate(1e30).purify(odd))


@pytest.mark.parametrize("name", ["ngf", "sgd"])
def test_weights_that_are_not_numbers_are_one_sentence(name, problem):
    """Called directly; a run is refused before this when it loads them."""
    broken = copy.deepcopy(problem.model)
    broken.stem.weight.data[0] = float("nan")
    flips = problem.survives_flip
    bad = Problem(broken, problem.clean, problem.validation, 0, flips)
    with pytest.raises(Diverged, match="not finite numbers|no longer a number at step 0"):
        finish(short(name, layer="fisher").purify(bad))


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
