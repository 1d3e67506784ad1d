"""A tiny world for attackers, so that a test has a learned trigger in a moment."""

from __future__ import annotations

import functools

import torch

from ngf import models
from ngf.attacks.base import InLoop, Prepared, Probe
from ngf.catalogue import build
from ngf.config import Choice
from ngf.data import Images, load
from ngf.training.attacker import AttackerView

NUM_IMAGES = 120  # a few of each of the 12 classes


@functools.cache
def view(channels: int = 3) -> AttackerView:
    """120 signs, untrained networks."""
    train = load("signs", num_train=NUM_IMAGES).train
    if channels == 1:
        train = Images(train.images.float().mean(1, keepdim=True).to(torch.uint8), train.labels)

    def model() -> torch.nn.Module:
        return models.build("preact_resnet_tiny", 12, channels)

    return AttackerView(
        train=train, num_classes=12, seed=0, build=model, surrogate=lambda robust: model().eval()
    )


def attack(name: str, **options):
    """The attack; without its trigger, if that is learned."""
    return build("attacks", Choice(name, options))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@functools.cache
def ready(name: str, channels: int = 3, **options):
    """The attack with its trigger: learned on the tiny view, in a few steps, where it has to
    be.
    """
    made = attack(name, **options)
    world = view(channels)
    torch.manual_seed(0)
    if isinstance(made, Prepared):
        made = made.with_trigger(made.prepare(world))
    if isinstance(made, InLoop):
        made = made.with_trigger(made.attacker(world, world.build()).trigger())
    return made


def shown(made, images: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, Probe]:
    """The probes of an attack by name. labels: of the images; by default all of class 5."""
    labels = torch.full((len(images),), 5) if labels is None else labels
    of = (made.probes, made.probes_elsewhere)
    return {probe.name: probe for ask in of for probe in ask(images, labels, 12, rng())}
