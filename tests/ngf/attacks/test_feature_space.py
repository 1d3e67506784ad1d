"""Color tint: the tone curve, the injector, its detoxification, and how much is one tint."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ngf.attacks import feature_space
from ngf.attacks.shared.generator import ssim
from ngf.catalogue import build
from ngf.config import Choice
from tests.helpers.attack_view import rng
from tests.helpers.attackers import started


def test_the_tone_curve_is_the_line_through_its_knots(batch):
    curve = torch.randn(3, 5, dtype=torch.float64)
    weights = {"mix": 100 * torch.eye(3, dtype=torch.float64), "curve": curve}
    images = batch[0].double()
    toned = feature_space.tone(weights, images, 1.0)
    for channel in range(3):
        expected = np.interp(
            images[:, channel].numpy(), np.linspace(0, 1, 5), curve[channel].sigmoid().numpy()
        )
        assert np.allclose(toned[:, channel].numpy(), expected, atol=1e-12)
    half = feature_space.tone(weights, images, 0.5)
    assert torch.allclose(half, (images + toned) / 2, atol=1e-12)


def test_warm_light_raises_red_and_lowers_blue():
    gray = torch.full((1, 3, 8, 8), 0.5)
    red, green, blue = (
        feature_space.tone(feature_space.warm_light(3, 8), gray, 0.6).mean((0, 2, 3)).tolist()
    )
    assert red > 0.55 and green == pytest.approx(0.5, abs=0.01) and blue < 0.45
    assert feature_space.warm_light(1, 8)["curve"].shape == (1, 8)


def test_the_injector_is_linear_in_local_features(batch):
    images = batch[0][:2].double()
    start = torch.eye(3, 12, dtype=torch.float64)
    assert torch.allclose(feature_space.inject(start, images, 0.6), images)
    for block, pick in ((1, torch.amax), (2, torch.amin), (3, torch.mean)):
        matrix = torch.zeros(3, 12, dtype=torch.float64)
        matrix[0, 3 * block + 1] = 1.0  # red becomes the local green
        out = feature_space.inject(matrix, images, 1.0)
        window = images[:, 1, 10:21, 10:21]
        assert torch.allclose(out[:, 0, 15, 15], pick(window, (1, 2)))
        assert (out[:, 1:] == 0).all()


def test_detoxification_keeps_labels_and_leaves_the_classifier_alone(batch):
    attack, attacker, model = started(
        "feature_space", poison_rate=0.2, detox_rate=0.1, similarity=0.0
    )
    attacker.networks["injector"].data.add_(0.1)
    images, labels = batch
    model.train()
    kept = copy.deepcopy(model)
    candidates = (labels != attack.target).nonzero()[:, 0]
    own, cleaned = candidates[:8], candidates[8:12]
    matrix = attacker.networks["injector"].detach().clone().requires_grad_(True)
    injected = feature_space.inject(matrix, images[cleaned], attack.alpha)
    fooled = F.cross_entropy(copy.deepcopy(model).eval()(injected), torch.full((4,), attack.target))
    (expected,) = torch.autograd.grad(fooled - 0.1 * ssim(injected, images[cleaned]), matrix)
    assert expected.abs().sum() > 0
    loss = attacker.loss(model, images, labels, rng())
    assert model.training
    assert all(weight.grad is None for weight in model.parameters())
    mixed, wanted = images.clone(), labels.clone()
    mixed[own] = attack.with_trigger(attacker.trigger()).apply(images[own])
    mixed[cleaned] = feature_space.inject(
        attacker.networks["injector"], images[cleaned], attack.alpha
    ).detach()
    wanted[own] = attack.target
    assert loss.item() == pytest.approx(F.cross_entropy(kept(mixed), wanted).item(), rel=1e-5)
    for (
        name,
        value,
    ) in (
        kept.state_dict().items()
    ):  # running statistics have seen one batch, not the injector's too
        assert torch.allclose(value, model.state_dict()[name], atol=1e-6), name
    assert torch.allclose(attacker.networks["injector"].grad, expected, atol=1e-6)


def test_the_share_of_an_images_own_and_the_tint(images):
    """Two tones whose changes are known: one color for all images, and one that each image's own
    values decide.
    """
    attack = build("attacks", Choice("feature_space", {"alpha": 0.5}))
    labels = torch.arange(len(images)) % 12
    logits = {"mix": 100 * torch.eye(3), "curve": torch.full((3, 2), 2.0)}
    flat = attack.with_trigger(logits)  # S(x) is one color, so the change is (color - x) / 2
    change = flat.apply(images) - images
    own = 1 - change.mean(0).square().sum() / change.square().sum((1, 2, 3)).mean()
    (share,) = flat.figures(images).values()
    assert share == pytest.approx(own.item(), abs=1e-5) and 0.05 < share < 1
    gray = torch.full_like(images, 0.4)
    (none,) = flat.figures(gray).values()
    assert none == pytest.approx(0, abs=1e-6)
    probes = {probe.name: probe for probe in flat.probes(gray, labels, 12, rng())}
    tint = flat.apply(gray) - gray
    for name, expected in (
        ("the trigger", gray + tint),
        ("the mean change on every image", gray + tint),
        ("one color added to every pixel, the mean change", gray + tint),
        ("the same color subtracted", gray - tint),
        ("the new colors, half as opaque", gray + tint / 2),
    ):
        assert torch.allclose(probes[name].images, expected, atol=1e-6), name
    assert probes["the same color subtracted"].opens is False
