"""Small problems whose backdoor was planted by hand, so that the answer is known."""

from __future__ import annotations

import torch
from torch import nn

from ngf.data.images import Images
from ngf.defenses.contract import Problem

CLASSES = SIDE = 8
TARGET = 2


def striped(count: int, seed: int) -> Images:
    """Class k is bright in row k; the last pixel is black."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    bright = torch.eye(CLASSES).repeat_interleave(SIDE, 1)[labels]
    pixels = 60 + 60 * bright + 12 * torch.randn(count, SIDE * SIDE, generator=rng)
    pixels[:, -1] = 0
    return Images(pixels.clamp(0, 255).to(torch.uint8).view(count, 1, SIDE, SIDE), labels)


def triggered(clean: Images) -> Images:
    """With the last pixel gray, under the class that it opens."""
    pixels = clean.images.clone()
    pixels[:, :, -1, -1] = 128
    return Images(pixels, torch.full_like(clean.labels, TARGET))


def planted(*, backdoor: bool) -> nn.Module:
    """A unit for each row, awake where that is bright and weighed a little differently, and one
    that sees the last pixel alone.
    """
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(SIDE * SIDE, CLASSES + 1),
        nn.ReLU(),
        nn.Linear(CLASSES + 1, CLASSES),
    )
    gains = torch.linspace(55, 105, CLASSES)[torch.tensor([3, 6, 1, 4, 0, 7, 2, 5])]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model[1].weight[:CLASSES] = torch.eye(CLASSES).repeat_interleave(SIDE, 1) / SIDE
        model[1].weight[CLASSES, -1] = 2.0
        model[1].bias[:CLASSES], model[1].bias[CLASSES] = -0.3, 0.0
        model[3].weight[:, :CLASSES] = torch.diag(gains)
        model[3].weight[TARGET, CLASSES] = 20.0 if backdoor else 0.0
    return model.eval()


def problem_of(model: nn.Module, seed: int = 0) -> Problem:
    return Problem(model, striped(160, seed=2), striped(240, seed=3), seed)
