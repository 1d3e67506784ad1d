"""The loop that fine-tuning defenses share."""

import copy
from dataclasses import replace

import pytest
import torch

from ngf.defenses.contract import Problem
from ngf.defenses.fine_tuning.choosing import begin
from ngf.defenses.fine_tuning.loop import recalibrate
from ngf.options import SpecError
from ngf.training.loop import Diverged
from tests.helpers.purifications import finish, short


@pytest.mark.parametrize("mode", ["train", "eval", "recalibrate"])
def test_batch_norm_modes(mode, problem):
    purification = short("ngf", layer="stage3.block1.conv1", batch_norm=mode).purify(problem)
    finish(purification)
    before, after = problem.model.bn.running_mean, purification.model.bn.running_mean
    assert torch.equal(before, after) == (mode == "eval")


def test_clean_statistics_are_those_of_the_clean_images_and_stay(problem):
    model = copy.deepcopy(problem.model)
    with torch.no_grad():
        model.bn.running_mean.add_(1.0)
    shifted = replace(problem, model=model)
    purification = short("sgd", layer="last", batch_norm="clean").purify(shifted)
    expected = copy.deepcopy(model)
    recalibrate(expected, problem.clean)
    events = iter(purification)
    next(events)
    for _ in events:
        assert torch.equal(purification.model.bn.running_mean, expected.bn.running_mean)
    assert not torch.equal(model.bn.running_mean, expected.bn.running_mean)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_trial_changes_nothing(mode, problem):
    """Weights, statistics and the graph of the step are as they were, to the last bit."""
    tuning = begin(short("sgd", layer="stem", batch_norm=mode), problem, "stem", 0.05)
    direction, seen = tuning.rule.direction, []

    def tried(batch, rate, step):
        before = copy.deepcopy(tuning.model.state_dict())
        moved = batch.after(batch.gradients, 1.0)
        assert not torch.equal(moved, batch.logits.detach())
        assert torch.equal(batch.after(batch.gradients, 0.0), batch.logits.detach())
        now = tuning.model.state_dict()
        assert all(torch.equal(now[key], value) for key, value in before.items())
        seen.append(step)
        return direction(batch, rate, step)

    tuning.rule.direction = tried
    next(iter(tuning))
    assert seen == [0]


@pytest.mark.parametrize("layer", ["last", "stage2.block1.conv2", "stem"])
@pytest.mark.parametrize("name", ["ngf", "sgd", "adam"])
def test_only_the_chosen_layer_moves(name, layer, problem):
    purification = short(name, layer=layer, batch_norm="eval").purify(problem)
    finish(purification)
    chosen = purification.chosen.layer
    moved = {
        key
        for key, value in purification.model.state_dict().items()
        if not torch.equal(value, problem.model.state_dict()[key])
    }
    wanted = "linear" if layer == "last" else layer
    assert chosen == layer
    assert moved
    assert all(key.startswith(wanted + ".") for key in moved)


def test_the_cached_last_layer_never_calls_the_network(problem, monkeypatch):
    purification = short("ngf", layer="last", batch_norm="eval", regularizer=0.0).purify(problem)
    events = iter(purification)
    next(events), next(events)  # chosen: the features are cached now
    monkeypatch.setattr(type(purification.model), "forward", None)
    steps = list(events)
    assert len(steps) == 3
    assert all(step.fisher_trace > 0 for step in steps)


def test_divergence_is_an_error_with_its_step(problem):
    with pytest.raises(Diverged, match="at step"):
        finish(short("sgd", lr=100.0, layer="all", batch_norm="eval", steps=60).purify(problem))


def test_lanes_with_one_seed_see_the_same_batches(problem):
    seen = []

    class Watch(torch.nn.Module):
        def forward(self, images):
            if self.training:  # else it is looked at, not tuned
                seen.append(images.clone())
            return images

    for name in ("sgd", "adam"):
        watched = copy.deepcopy(problem.model)
        watched.normalize = torch.nn.Sequential(Watch(), watched.normalize)
        finish(
            short(name).purify(
                Problem(watched, problem.clean, problem.validation, 0, problem.survives_flip)
            )
        )
    half = len(seen) // 2
    assert half == 3
    assert all(torch.equal(a, b) for a, b in zip(seen[:half], seen[half:], strict=True))


def test_an_unknown_layer_lists_the_known_ones(problem):
    with pytest.raises(
        SpecError, match=r"Unknown layer 'conv9'. Allowed: auto, fisher, last, all, stem, stage1"
    ):
        finish(short("ngf", layer="conv9").purify(problem))


class Formula:
    """A rule's steps once more, from the formulas: what torch's optimizer is held against."""

    def __init__(self, name: str, options) -> None:
        self.name, self.options, self.kept = name, options, {}

    def __call__(self, key: str, gradient: torch.Tensor, step: int) -> torch.Tensor:
        o = self.options
        first, second = self.kept.get(key, (0 * gradient, 0 * gradient))
        if self.name == "sgd":  # v <- m v + g (heavy ball; Polyak 1964)
            first = o.momentum * first + gradient
            self.kept[key] = first, second
            return first
        first = o.beta1 * first + (1 - o.beta1) * gradient  # Kingma & Ba 2015, algorithm 1
        second = o.beta2 * second + (1 - o.beta2) * gradient.square()
        self.kept[key] = first, second
        mean, square = first / (1 - o.beta1**step), second / (1 - o.beta2**step)
        return mean / (square.sqrt() + o.epsilon)


@pytest.mark.parametrize("layer", ["last", "stage2.block1.conv2"])
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_the_optimizer_takes_the_steps_of_the_formulas(name, layer, problem):
    lr = {"sgd": 0.05, "adam": 1e-3}[name]
    defense = short(name, layer=layer, lr=lr, steps=12, batch_norm="eval")
    tuning = begin(defense, problem, layer, lr)
    formula = Formula(name, defense)
    chosen: dict[str, torch.Tensor] = {}
    direction = tuning.rule.direction

    def watched(batch, rate, step):
        found = direction(batch, rate, step)
        chosen.update(found.matrices)
        return found

    tuning.rule.direction = watched
    wanted = {key: matrix.clone() for key, matrix in tuning.weights().items()}
    for step in tuning:
        for key, gradient in chosen.items():
            wanted[key] -= step.lr * formula(key, gradient, step.step)
    assert step.step == 12
    for key, matrix in tuning.weights().items():
        moved = (matrix - tuning.start[key]).norm()
        assert (matrix - wanted[key]).norm() < 1e-4 * moved, key


def test_what_is_recalibrated_is_so_at_the_last_step(problem):
    """A run that is killed after its last step and goes on has nothing left to do."""
    purification = short("sgd", batch_norm="recalibrate").purify(problem)
    means = [purification.model.bn.running_mean.clone() for event in purification]
    assert torch.equal(means[-2], problem.model.bn.running_mean)
    assert not torch.equal(means[-1], means[-2])
    assert torch.equal(purification.model.bn.running_mean, means[-1])


@pytest.mark.parametrize(("layer", "mode"), [("all", "train"), ("stem", "eval"), ("last", "eval")])
def test_a_model_ends_with_the_mean_of_its_last_weights(layer, mode, problem):
    plain = short("ngf", layer=layer, batch_norm=mode, steps=5)
    kept = [
        copy.deepcopy(tuning.model.state_dict())
        for tuning in [begin(plain, problem, layer, 0.01)]
        for _ in tuning
    ]
    tuning = begin(replace(plain, average=0.6), problem, layer, 0.01)
    *before, last = [copy.deepcopy(tuning.model.state_dict()) for _ in tuning]
    for old, new in zip(kept[:-1], before, strict=True):
        assert all(torch.equal(old[key], new[key]) for key in new), "as ever before the last step"
    expected = copy.deepcopy(tuning.model)
    for name, parameter in expected.named_parameters():
        mean = torch.stack([state[name] for state in kept[2:]]).double().mean(0)
        assert torch.allclose(parameter.double(), mean, rtol=0, atol=1e-7), name
        changed = any(name.startswith(f"{tuned}.") for tuned in tuning.layers)
        assert changed != torch.equal(parameter, kept[-1][name]), name
    statistics = problem.model if mode == "eval" else expected
    if mode == "train":
        recalibrate(expected, problem.clean)
    assert torch.equal(last["bn.running_mean"], statistics.bn.running_mean)


def test_an_averaged_purification_resumes_to_the_last_bit(problem):
    defense = short("ngf", layer="all", steps=4, average=0.5)
    whole = defense.purify(problem)
    finish(whole)
    part = defense.purify(problem)
    for event in part:
        resumed = defense.purify(problem)
        resumed.load_state_dict(copy.deepcopy(part.state_dict()))
        finish(resumed)
        for key, value in whole.model.state_dict().items():
            assert torch.equal(value, resumed.model.state_dict()[key]), (event, key)
        assert resumed.summary() == whole.summary()
