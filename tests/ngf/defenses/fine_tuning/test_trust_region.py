"""The trust region: what the predictions really do, counted here by other means."""

import copy
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ngf import models
from ngf.checkpoints.weights import load_model
from ngf.defenses.contract import Problem
from ngf.defenses.fine_tuning.choosing import begin
from ngf.defenses.fine_tuning.loop import OldCheckpoint, recalibrate
from ngf.defenses.fine_tuning.trust_region import mean_kl
from ngf.finite import Diverged
from ngf.options import SpecError
from ngf.runs.store import Store
from tests.helpers.purifications import finish, short

FREE = 1000.0  # a bound on the weights that never counts


class Kinds(nn.Module):
    """Grouped convolution, LayerNorm and a linear layer on tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=4, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.norm = nn.LayerNorm(8)
        self.tokens = nn.Linear(8, 8)
        self.head = nn.Linear(8, 12, bias=False)

    def forward(self, images):
        x = torch.tanh(self.grouped(torch.tanh(self.bn(self.stem(images)))))
        x = self.norm(x.flatten(2).mT)
        return self.head(torch.tanh(self.tokens(x)).mean(1))


@pytest.fixture(scope="module")
def problems(problem):
    """The problem with a network of that name."""
    made = {"preact_resnet_tiny": problem}

    def get(name: str) -> Problem:
        if name not in made:
            torch.manual_seed(0)
            model = Kinds() if name == "kinds" else models.build(name, 12)
            recalibrate(model, problem.clean)
            made[name] = replace(problem, model=model)
        return made[name]

    return get


@pytest.fixture(scope="module")
def trained(problem):
    """The problem with a backdoored network of the zoo."""
    store = Store()
    (run,) = [path.name for path in store.zoo.glob("signs-badnets-s0-*")]
    return replace(problem, model=load_model(store, run, torch.device("cpu")).model)


def watched(defense, problem, layer):
    """Steps of a tuning, each with the KL of the same inputs before and after it in the same mode,
    from copies of the model.
    """
    tuning = begin(defense, problem, layer, defense.rate)
    # with features kept the head is called, else the network
    (module,) = tuning.layers.values() if tuning._features is not None else (tuning.model,)
    seen = []

    def keep(_module, inputs):
        if torch.is_grad_enabled():  # the pass of the step; trials are taken without
            seen.append((copy.deepcopy(module), inputs[0].detach().clone()))

    hook = module.register_forward_pre_hook(keep)
    for step in tuning:
        before, inputs = seen.pop()
        for part in before.modules():  # copied with it
            part._forward_hooks.clear()
            part._forward_pre_hooks.clear()
        after = copy.deepcopy(before)
        mine, its = dict(after.named_parameters()), dict(module.named_parameters())
        with torch.no_grad():
            for name, parameter in mine.items():
                parameter.copy_(its[name])
            p, q = (net(inputs).double().log_softmax(1) for net in (before, after))
        yield step, F.kl_div(q, p, log_target=True, reduction="batchmean").item()
    hook.remove()


CASES = [
    ("preact_resnet_tiny", "stage2.block1.conv2", "train"),
    ("preact_resnet_tiny", "stage3.block1.shortcut", "clean"),
    ("preact_resnet_tiny", "last", "train"),
    ("preact_resnet_tiny", "last", "eval"),
    ("preact_resnet_tiny", "stem,last", "recalibrate"),
    ("preact_resnet_tiny", "all", "train"),
    ("preact_resnet_tiny", "all", "clean"),
    ("vgg_tiny", "all", "train"),
    ("vgg_tiny", "all", "eval"),
    ("vit_tiny", "all", "eval"),
    ("kinds", "grouped", "train"),
    ("kinds", "norm", "eval"),
    ("kinds", "tokens", "clean"),
    ("kinds", "last", "eval"),
    ("kinds", "all", "recalibrate"),
]


@pytest.mark.parametrize(("network", "layer", "mode"), CASES)
def test_the_real_kl_of_every_step_is_within_its_radius(network, layer, mode, problems):
    bounds = {"trust_region": 0.05, "largest_change": FREE, "steps": 2, "batch_size": 12}
    defense = short("ngf", layer=layer, batch_norm=mode, **bounds)
    for step, kl in watched(defense, problems(network), layer):
        assert kl <= step.radius * (1 + 1e-6)
        assert kl == pytest.approx(step.kl, rel=1e-3, abs=1e-9)
        assert kl > 0


@pytest.mark.parametrize("layer", ["stage2.block1.conv2", "last", "all"])
def test_both_directions_have_the_same_kl(layer, trained):
    """On a trained network, where the KL grows without a jump."""
    for name in ("ngf", "gradient_kl"):
        options = {"trust_region": 0.02, "largest_change": FREE, "batch_norm": "eval"}
        for step, kl in watched(short(name, layer=layer, **options), trained, layer):
            assert 0.75 * step.radius <= kl <= step.radius * (1 + 1e-6), name


def test_momentum_comes_before_the_length(problem):
    """What has gathered over many steps is within the radius as well."""
    defense = short("ngf", layer="stem", momentum=0.999, steps=8, trust_region=1e-3)
    for step, kl in watched(defense, problem, "stem"):
        assert kl <= step.radius * (1 + 1e-6)


def test_the_radius_goes_down_with_the_steps_or_stays(problem):
    def radii(schedule):
        events = finish(
            short(
                "gradient_kl",
                layer="last",
                batch_norm="eval",
                trust_region=0.2,
                steps=4,
                radius_schedule=schedule,
            ).purify(problem)
        )
        return [step.radius for step in events[2:]]

    expected = [0.1 * (1 + math.cos(math.pi * k / 4)) for k in range(4)]
    assert radii("cosine") == pytest.approx(expected)
    assert radii("constant") == [0.2] * 4


@pytest.mark.parametrize("name", ["ngf", "gradient_kl"])
def test_a_step_is_bounded_by_weights_and_rate_too(name, problem):
    def lengths(**options):
        defense = short(name, layer="stem", trust_region=100.0, momentum=0.0, **options)
        return list(begin(defense, problem, "stem", defense.rate))

    size = problem.model.stem.weight.norm().item()
    (first, *_) = lengths(largest_change=0.01)
    assert first.update_norm == pytest.approx(0.01 * size, rel=1e-4)
    assert all(step.lr == 1e-4 for step in lengths(lr=1e-4, largest_change=FREE))


def test_the_summary_tells_how_the_region_held(problem):
    purification = short("ngf", layer="last", batch_norm="eval").purify(problem)
    steps = finish(purification)[2:]
    said = purification.summary()
    assert said["kl_of_radius"] == max(step.kl / step.radius for step in steps) <= 1
    ratios = [step.kl_predicted / step.kl for step in steps]
    assert said["kl_predicted_of_kl"] == pytest.approx(math.prod(ratios) ** (1 / len(ratios)))
    plain = short("sgd", layer="last").purify(problem)
    finish(plain)
    assert not {"kl_of_radius", "kl_predicted_of_kl"} & set(plain.summary())


def test_a_state_of_before_is_refused_in_words(problem):
    defense = short("ngf", layer="stem")
    rule = begin(defense, problem, "stem", defense.rate).rule
    with pytest.raises(OldCheckpoint, match="made by an older version"):
        rule.load_state_dict({"diagonal": {}, "kfac": {}})


def test_a_direction_that_is_not_made_of_numbers_is_an_error(problem):
    defense = short("gradient_kl", layer="stem")
    tuning = begin(defense, problem, "stem", defense.rate)
    descend = tuning.rule.descend
    tuning.rule.descend = lambda batch, step: {
        name: matrix * math.nan for name, matrix in descend(batch, step).items()
    }
    with pytest.raises(Diverged, match="no longer made of numbers at step 0"):
        next(iter(tuning))


def test_several_layers_by_name_move_and_no_other(problem):
    purification = short("ngf", layer="linear, stem", batch_norm="eval").purify(problem)
    finish(purification)
    start, now = problem.model.state_dict(), purification.model.state_dict()
    moved = {key.rpartition(".")[0] for key in now if not torch.equal(now[key], start[key])}
    assert moved == {"linear", "stem"}


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("stem,conv9", "Unknown layer 'conv9'. Allowed: auto"),
        ("stem,all", "'all' stands alone"),
        ("fisher,stem", "'fisher' stands alone"),
    ],
)
def test_names_that_do_not_go_together_are_refused(layer, message, problem):
    with pytest.raises(SpecError, match=message):
        finish(short("ngf", layer=layer).purify(problem))


def test_kl_of_outputs_that_are_not_finite_is_without_end():
    before = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 5.0]])
    assert mean_kl(before, before) == 0
    assert mean_kl(before, before + 7) == pytest.approx(0, abs=1e-12)
    assert mean_kl(before, before * math.inf) == math.inf
