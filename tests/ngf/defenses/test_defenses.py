"""Contract of every defense, present and future, and what each promises on its own."""

import copy
import math

import pytest
import torch

from ngf import models
from ngf.catalogue import build, load, names
from ngf.config import Choice
from ngf.data import load as load_data
from ngf.defenses.contract import Problem, Purification, Step
from ngf.defenses.fine_tuning.choosing import choose_lr
from ngf.defenses.fine_tuning.events import Chosen, LayerScore
from ngf.defenses.fine_tuning.loop import recalibrate
from ngf.evaluate import accuracy
from ngf.options import SpecError
from ngf.training.loop import Diverged

SHORT = {"steps": 3, "batch_size": 24}


@pytest.fixture(scope="module")
def problem() -> Problem:
    splits = load_data("signs", num_clean=60)
    torch.manual_seed(0)
    model = models.build("preact_resnet_tiny", 12)
    recalibrate(model, splits.clean)
    return Problem(
        model,
        splits.clean,
        splits.validation.take(slice(0, 100)),
        seed=0,
        survives_flip=splits.source.facts["survives_flip"],
    )


def short(name: str, **options) -> object:
    known = load("defenses", name).__dataclass_fields__
    wanted = {"layer": "fisher", **SHORT, **options} if name == "ngf" else {**SHORT, **options}
    return build(
        "defenses", Choice(name, {key: value for key, value in wanted.items() if key in known})
    )


def finish(purification: Purification) -> list:
    return list(purification)


@pytest.mark.parametrize("name", names("defenses"))
def test_every_defense_keeps_its_promises(name, problem):
    kept = copy.deepcopy(problem.model.state_dict())
    first, second = short(name).purify(problem), short(name).purify(problem)
    events, again = finish(first), finish(second)
    assert events == again, "deterministic for a seed"
    steps = [event for event in events if isinstance(event, Step)]
    assert [step.step for step in steps] == [0, 1, 2, 3] and events[0] is steps[0]
    assert isinstance(next(e for e in events[1:] if not isinstance(e, LayerScore)), Chosen)
    for step in steps[1:]:
        assert step.steps == 3
        assert all(
            math.isfinite(value) for value in (step.loss, step.lr, step.update_norm, step.distance)
        )
        with pytest.raises(AttributeError):
            step.loss = 0.0
    assert steps[-1].distance > 0
    assert all(
        torch.equal(problem.model.state_dict()[key], value) for key, value in kept.items()
    ), "a copy is tuned"
    assert not first.model.training
    assert first.model(torch.rand(2, 3, 32, 32)).isfinite().all()


@pytest.mark.parametrize("name", names("defenses"))
def test_a_purification_resumes_to_the_last_bit(name, problem, tmp_path):
    whole = short(name, steps=4).purify(problem)
    finish(whole)
    part = short(name, steps=4).purify(problem)
    for event in part:
        if isinstance(event, Step) and event.step == 2:
            break
    torch.save(part.state_dict(), tmp_path / "state.pt")
    resumed = short(name, steps=4).purify(problem)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert [event.step for event in resumed] == [3, 4]
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[key]), key


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


@pytest.mark.parametrize("mode", ["train", "eval", "recalibrate"])
def test_batch_norm_modes(mode, problem):
    purification = short("ngf", layer="stage3.block1.conv1", batch_norm=mode).purify(problem)
    finish(purification)
    before, after = problem.model.bn.running_mean, purification.model.bn.running_mean
    assert torch.equal(before, after) == (mode == "eval")


def test_the_cached_last_layer_never_calls_the_network(problem, monkeypatch):
    purification = short("ngf", layer="last", batch_norm="eval", regularizer=0.0).purify(problem)
    events = iter(purification)
    next(events), next(events)  # chosen: the features are cached now
    monkeypatch.setattr(type(purification.model), "forward", None)
    steps = list(events)
    assert len(steps) == 3
    assert all(step.fisher_trace > 0 for step in steps)


def test_the_trust_region_bounds_every_step(problem):
    wide = finish(
        short("ngf", layer="last", trust_region=100.0, lr=10.0, momentum=0.0).purify(problem)
    )
    tight = finish(
        short("ngf", layer="last", trust_region=1e-4, lr=10.0, momentum=0.0).purify(problem)
    )
    assert max(step.kl for step in wide[2:]) > 1e-3
    assert all(step.kl <= 1e-4 * 1.001 for step in tight[2:])


def test_the_regularizer_holds_the_weights_back(problem):
    free, held = (
        finish(short("ngf", layer="stem", regularizer=eta, lr=0.1, steps=12).purify(problem))[
            -1
        ].distance
        for eta in (0.0, 100.0)
    )
    assert held < 0.8 * free


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


def test_the_learning_rate_rule_keeps_clean_accuracy(problem):
    defense = short("sgd", lr=0.0, layer="last")
    lr, why = choose_lr(defense, problem, "last")
    assert lr in defense.lr_grid
    assert f"{lr:g}" in why
    start = accuracy(problem.model, problem.validation)
    tuned = short("sgd", lr=lr, layer="last").purify(problem)
    finish(tuned)
    assert accuracy(tuned.model, problem.validation) >= start - 0.01 or lr == defense.lr_grid[-1]


def test_an_unknown_layer_lists_the_known_ones(problem):
    with pytest.raises(
        SpecError, match=r"Unknown layer 'conv9'. Allowed: auto, fisher, last, all, stem, stage1"
    ):
        finish(short("ngf", layer="conv9").purify(problem))


def test_divergence_is_an_error_with_its_step(problem):
    with pytest.raises(Diverged, match="at step"):
        finish(short("sgd", lr=100.0, layer="all", batch_norm="eval", steps=60).purify(problem))


def test_lanes_with_one_seed_see_the_same_batches(problem):
    seen = []

    class Watch(torch.nn.Module):
        def forward(self, images):
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
