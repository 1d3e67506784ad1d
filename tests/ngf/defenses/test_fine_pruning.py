"""Fine-Pruning against its definition, and on a backdoor that lives in one dormant unit."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from ngf.data.images import Images, to_float
from ngf.defenses.contract import Problem, Step
from ngf.defenses.fine_pruning import FinePruning, PruningStep
from ngf.defenses.fine_tuning.events import FineTuningStep
from ngf.defenses.fine_tuning.options import FOLDS
from ngf.defenses.judging import cross_fitted
from ngf.evaluate import accuracy

CLASSES, SIDE, UNITS = 4, 8, 40


def images(count: int, seed: int) -> Images:
    """Class k is brighter in the k-th quarter; the first pixel is black."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    bright = torch.eye(CLASSES).repeat_interleave(SIDE * SIDE // CLASSES, 1)[labels]
    pixels = 60 + 25 * bright + 40 * torch.randn(count, SIDE * SIDE, generator=rng)
    pixels[:, 0] = 0
    return Images(pixels.clamp(0, 255).to(torch.uint8).view(count, 1, SIDE, SIDE), labels)


def triggered(clean: Images) -> Images:
    pixels = clean.images.clone()
    pixels[:, 0, 0, 0] = 255
    return Images(pixels, torch.full_like(clean.labels, 2))


@pytest.fixture(scope="module")
def backdoored() -> nn.Module:
    """Random features and a classifier fitted to them; the last unit sees the first pixel alone
    and sends its image to class 2.
    """
    torch.manual_seed(0)
    train = images(400, seed=1)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(SIDE * SIDE, UNITS), nn.ReLU(), nn.Linear(UNITS, CLASSES)
    )
    with torch.no_grad():
        model[1].weight[UNITS - 1] = 0
        model[1].weight[UNITS - 1, 0], model[1].bias[UNITS - 1] = 2.0, -1.0
        features = model[:3](to_float(train.images))
        wanted = nn.functional.one_hot(train.labels, CLASSES).float()
        model[3].weight[:, :-1] = 8 * torch.linalg.lstsq(features[:, :-1], wanted).solution.T
        model[3].bias.zero_()
        model[3].weight[2, -1] = 50.0
    return model.eval()


@pytest.fixture(scope="module")
def problem(backdoored) -> Problem:
    return Problem(backdoored, images(200, seed=2), images(300, seed=3), seed=0)


def purified(problem: Problem, **options):
    purification = FinePruning(units_per_step=0.05, **options).purify(problem)
    return purification, list(purification)


def test_the_most_dormant_units_go_first_and_within_the_tolerance(problem):
    """The definition once more, on the network as a whole."""
    purification, events = purified(problem, steps=0)
    taken = {}
    probe = copy.deepcopy(problem.model)
    probe[2].register_forward_hook(lambda *about: taken.update(out=about[2].detach()))
    probe(to_float(problem.clean.images))
    order = taken["out"].abs().mean(0).argsort(stable=True).tolist()
    start = accuracy(problem.model, problem.validation)
    for k, event in enumerate(events[1:], 1):
        assert isinstance(event, PruningStep)
        assert (event.step, event.pruned, event.units) == (k, 2 * k, UNITS)
        with torch.no_grad():
            probe[3].weight[:, order[2 * k - 2 : 2 * k]] = 0
        kept = accuracy(probe, problem.validation)
        assert event.validation == pytest.approx(kept, abs=1e-6)
        assert start - kept < 0.1 * start
    with torch.no_grad():  # one round more is one too many
        probe[3].weight[:, order[2 * k : 2 * k + 2]] = 0
    assert start - accuracy(probe, problem.validation) >= 0.1 * start
    assert 0 < k < (UNITS - 1) // 2
    assert purification.summary()["did"] == f"pruned {2 * k} of {UNITS} units"
    for before, after in zip(problem.model[1].parameters(), purification.model[1].parameters()):
        assert torch.equal(before, after)


def test_without_validation_images_no_image_judges_an_order_that_it_had_a_say_in(problem):
    own = replace(problem, validation=None)
    purification, events = purified(own, steps=0)
    probes = []
    for part, held in cross_fitted(own, FOLDS):
        probe = copy.deepcopy(own.model)
        with torch.no_grad():
            order = probe[:3](to_float(part.clean.images)).abs().mean(0).argsort(stable=True)
        probes.append((probe, order, held))
    for event in events[1:]:
        right = 0.0
        for probe, order, held in probes:
            with torch.no_grad():
                probe[3].weight[:, order[: event.pruned]] = 0
            right += accuracy(probe, held) * len(held)
        assert event.validation == pytest.approx(right / 200, abs=1e-6)
    assert 0 < purification.pruned < UNITS
    assert sum(len(held) for _probe, _order, held in probes) == 200


def test_a_backdoor_in_a_dormant_unit_is_pruned(problem):
    wanted = triggered(images(200, seed=4))
    assert accuracy(problem.model, wanted) > 0.99
    purification, _events = purified(problem, steps=0)
    assert accuracy(purification.model, wanted) < 0.5
    start = accuracy(problem.model, problem.validation)
    assert accuracy(purification.model, problem.validation) > 0.9 * start


def test_what_was_pruned_stays_pruned_while_all_layers_are_tuned(problem):
    pruned, _events = purified(problem, steps=0)
    tuned, events = purified(problem, steps=5, lr=0.01)
    gone = (pruned.model[3].weight == 0).all(0)
    assert gone.sum() == pruned.pruned > 0
    assert (tuned.model[3].weight[:, gone] == 0).all()
    for name, before in problem.model.named_parameters():
        assert not torch.equal(before, tuned.model.get_parameter(name)), name
    assert isinstance(events[-1], FineTuningStep)
    assert events[-1].step == events[-1].steps == tuned.rounds + 5
    assert tuned.summary()["did"].endswith("tuned all layers in 5 steps at learning rate 0.01")


def test_a_tolerance_of_zero_prunes_nothing(problem):
    purification, events = purified(problem, steps=2, tolerance=0.0)
    assert [type(event) for event in events] == [PruningStep, FineTuningStep, FineTuningStep]
    assert purification.pruned == 0
    whole, events = purified(problem, steps=0, tolerance=1.0)
    assert whole.pruned < UNITS, "one unit is left"
    assert len([event for event in events if isinstance(event, Step)]) == len(events)
