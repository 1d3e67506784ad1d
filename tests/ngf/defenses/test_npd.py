"""NPD: the layer begins as the identity, folding it changes nothing, its loss is the formula."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ngf import models
from ngf.defenses.npd import (
    Place,
    Polarizer,
    log_of_the_others,
    most_likely_wrong,
    perturbation,
    place,
    statistics,
)
from ngf.options import SpecError
from tests.helpers.purifications import finish, short

IMAGES = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("network", "layer", "norm"),
    [
        ("preact_resnet_tiny", "stage3.block1.conv1", "stage3.block1.bn2"),
        ("vgg_tiny", "conv6", "bn6"),
        ("resnet18", "layer4.1.conv2", "layer4.1.bn2"),
        ("mobilenet_v2", "features.18.0", "features.18.1"),
        ("vit_tiny", "block4.down", ""),
    ],
)
def test_the_layer_stands_before_a_late_one_that_can_take_it_in(network, layer, norm):
    assert place(models.build(network, 12).eval(), IMAGES[:2]) == Place(layer, norm)


def test_a_network_without_a_place_is_refused(problem):
    bare = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 900, 12)
    )
    with pytest.raises(SpecError, match="puts a linear layer before a convolution"):
        short("npd").purify(replace(problem, model=bare.eval()))


class Shared(nn.Module):
    """The first convolution's outputs go into a BatchNorm, and past it as well."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.linear = nn.Linear(8, 12)

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv(images)
        return self.linear((x + self.bn(x)).mean((2, 3)))


def test_a_batch_norm_that_does_not_see_everything_takes_up_no_shift():
    with pytest.raises(SpecError):
        place(Shared().eval(), IMAGES[:2])


def with_layer(model: nn.Module, polarizer: Polarizer, images: Tensor) -> Tensor:
    """Logits of the network with the layer really in it: padded, mixed, normalized, convolved."""
    p = polarizer
    network = copy.deepcopy(model)
    layer = network.get_submodule(p.place.layer)
    padding = layer.padding[0] if isinstance(layer, nn.Conv2d) else 0

    def g(_layer: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        (x,) = inputs
        rows = F.pad(x, [padding] * 4).movedim(1, -1) if x.ndim == 4 else x
        mixed = rows @ p.parameters["mixing"].T
        norm = (mixed - p.mean) / (p.variance + 1e-5).sqrt()
        norm = norm * p.parameters["scale"] + p.parameters["shift"]
        return norm.movedim(-1, 1) if x.ndim == 4 else norm

    layer.register_forward_pre_hook(g)
    if isinstance(layer, nn.Conv2d):
        layer.padding = (0, 0)
    return network(images)


@pytest.mark.parametrize("network", ["preact_resnet_tiny", "vgg_tiny", "vit_tiny"])
def test_a_folded_layer_is_the_layer_itself(network, problem):
    torch.manual_seed(1)
    model = models.build(network, 12).double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value in (module.weight, module.running_var):
                nn.init.uniform_(value, 0.5, 1.5)
            nn.init.normal_(module.running_mean)
    at = place(copy.deepcopy(model).float(), IMAGES[:2])
    layer = model.get_submodule(at.layer)
    width = layer.weight.shape[1]
    polarizer = Polarizer(model, at, torch.randn(width).double(), torch.rand(width).double())
    images = IMAGES.double()
    assert torch.allclose(with_layer(model, polarizer, images), model(images), atol=1e-12)
    for value in polarizer.parameters.values():
        nn.init.normal_(value)
    logits = polarizer.logits(images)
    assert torch.allclose(with_layer(model, polarizer, images), logits, atol=1e-10)
    assert (logits - model(images)).abs().max() > 1e-3


def test_it_starts_as_the_identity_to_the_last_bit(problem):
    at = place(problem.model, IMAGES[:2])
    polarizer = Polarizer(problem.model, at, *statistics(problem.model, at, problem.clean))
    assert polarizer.folded().keys() == {"stage3.block1.conv1.weight", "stage3.block1.bn2.bias"}
    for name, value in polarizer.folded().items():
        assert torch.equal(value, problem.model.get_parameter(name)), name


def test_statistics_are_those_of_the_inputs_on_clean_images(problem):
    at = place(problem.model, IMAGES[:2])
    seen = []
    hook = problem.model.get_submodule(at.layer).register_forward_pre_hook(
        lambda _layer, inputs: seen.append(inputs[0])
    )
    problem.model(problem.clean.floats())
    hook.remove()
    mean, variance = statistics(problem.model, at, problem.clean)
    assert torch.allclose(mean, seen[0].mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(variance, seen[0].var((0, 2, 3), correction=0), atol=1e-4)


def test_a_perturbation_stays_in_its_ball_and_in_the_image(problem):
    target = torch.tensor([3, 3, 5, 7])

    def loss(images: Tensor) -> float:
        return F.cross_entropy(problem.model(images), target).item()

    found = perturbation(problem.model, IMAGES, target, radius=2.0, rounds=3)
    assert found.flatten(1).norm(dim=1).max() <= 2.0 + 1e-4
    assert found.flatten(1).norm(dim=1).min() > 1.0
    assert (IMAGES + found).min() >= 0 and (IMAGES + found).max() <= 1
    assert loss(IMAGES + found) < loss(IMAGES)
    there = problem.model(IMAGES).argmax(1)
    assert not perturbation(problem.model, IMAGES, there, radius=2.0, rounds=3).any(), "enough"
    assert not perturbation(problem.model, IMAGES, target, radius=0.0, rounds=3).any()


def test_log_of_the_other_classes():
    logits = torch.tensor([[0.0, 1.0, 2.0], [30.0, 0.0, 0.0]], dtype=torch.float64)
    classes = torch.tensor([1, 0])
    p = logits.softmax(1)[range(2), classes]
    assert torch.allclose(log_of_the_others(logits, classes), (1 - p).log(), rtol=1e-4)
    sure = log_of_the_others(torch.tensor([[300.0, 0.0, 0.0]]), torch.tensor([0]))
    assert sure.item() == pytest.approx(torch.tensor(2.0).log().item() - 300)
    assert most_likely_wrong(logits, torch.tensor([2, 1])).tolist() == [1, 0]


def test_the_loss_of_a_step_is_the_formula(wide, monkeypatch):
    monkeypatch.setattr("ngf.defenses.npd.to_float", lambda images: images.double() / 255)
    purification = short(
        "npd", steps=3, lr=1.0, clean_weight=0.7, kept_weight=0.5, wrong_weight=0.3, radius=1.0
    ).purify(wide)
    drawn = []
    draw = purification.batches.draw
    purification.batches.draw = lambda rng: drawn.append(draw(rng)) or drawn[-1]
    events = iter(purification)
    for _ in range(3):
        next(events)
    g = copy.deepcopy(purification.polarizer)  # as the third step finds it
    last = next(events)
    images, labels = drawn[-1]
    before = wide.model(images)
    target = before.scatter(1, labels[:, None], -torch.inf).argmax(1)
    moved = images + perturbation(g.logits, images, target, radius=1.0, rounds=2)
    clean, other = (with_layer(wide.model, g, x) for x in (images, moved))
    p, rows = other.softmax(1), torch.arange(len(labels))
    wrong = p.scatter(1, labels[:, None], 0.0).argmax(1)
    loss = (
        0.7 * F.cross_entropy(clean, labels)
        + 0.5 * F.cross_entropy(other, before.argmax(1))
        - 0.3 * (1 - p[rows, wrong]).log().mean()
        - 0.4 * (1 - p[rows, target]).log().mean()
    )
    assert last.loss == pytest.approx(loss.item(), rel=1e-9)
    assert last.fooled == pytest.approx((p.argmax(1) == target).double().mean().item())


def test_only_what_takes_the_layer_in_changes(problem):
    purification = short("npd", lr=0.1).purify(problem)
    finish(purification)
    changed = {
        name
        for name, value in purification.model.state_dict().items()
        if not torch.equal(value, problem.model.state_dict()[name])
    }
    assert changed == {"stage3.block1.conv1.weight", "stage3.block1.bn2.bias"}
    assert torch.allclose(
        purification.model(IMAGES),
        with_layer(problem.model, purification.polarizer, IMAGES),
        atol=1e-4,
    )
