"""A tiny world for attackers, so that a test has a learned trigger in a moment."""

from __future__ import annotations

import functools

import torch

from ngf import models
from ngf.catalogue import build
from ngf.config import Choice
from ngf.data import Images, load
from ngf.training.attacker import Scene

NUM_IMAGES = 120  # a few of each of the 12 classes


@functools.cache
def scene(channels: int = 3) -> Scene:
    """120 signs, untrained networks."""
    train = load("signs", num_train=NUM_IMAGES).train
    if channels == 1:
        train = Images(train.images.float().mean(1, keepdim=True).to(torch.uint8), train.labels)

    def model() -> torch.nn.Module:
        return models.build("preact_resnet_tiny", 12, channels)

    return Scene(
        train=train, num_classes=12, seed=0, build=model, surrogate=lambda robust: model().eval()
    )


@functools.cache
def ready(name: str, channels: int = 3, **options):
    """The attack with its trigger: learned on the tiny scene, in a few steps, where it has to
    be.
    """
    attack = build("attacks", Choice(name, options))
    world = scene(channels)
    torch.manual_seed(0)
    if hasattr(attack, "prepare"):
        attack = attack.with_trigger(attack.prepare(world))
    if hasattr(attack, "control"):
        attack = attack.with_trigger(attack.control(world, world.build()).trigger())
    return attack
