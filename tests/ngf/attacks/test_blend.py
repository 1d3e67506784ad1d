"""Blend: one formula, whatever its strength."""

import torch

from ngf.catalogue import build
from ngf.config import Choice
from tests.helpers.attack_view import attack, shown


def test_blend_is_one_formula(images):
    weak, strong = (
        build("attacks", Choice("blend", {"alpha": a})).apply(images) for a in (0.1, 1.0)
    )
    assert torch.allclose(weak, 0.9 * images + 0.1 * strong, atol=1e-6)


def test_blend_shows_fainter_noise_other_noise_and_noise_alone(images):
    made = attack("blend", alpha=0.4)
    found = shown(made, images)
    change = made.apply(images) - images
    for name, share in (("half", 2), ("a quarter", 4)):
        fainter = found[f"the noise, {name} as opaque"].images - images
        assert torch.allclose(fainter, change / share, atol=1e-6)
    assert not torch.allclose(found["other noise"].images, made.apply(images), atol=0.1)
    plain = found["the noise on a plain color"].images
    assert torch.allclose(
        plain[0] - plain[1], (plain[0] - plain[1])[:, :1, :1].expand(3, 32, 32), atol=1e-6
    )
