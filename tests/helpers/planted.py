"""A small network with a backdoor in one unit, and images for it."""

import torch
from torch import nn

from ngf.data.images import Images, to_float
from ngf.defenses.contract import Problem

CLASSES, SIDE, UNITS = 4, 8, 9
TARGET = 2
NORM, PLANTED = "2", UNITS - 1  # the unit is this channel of this layer


def images(count: int, seed: int) -> Images:
    """Class k is brighter in the k-th quarter; the first pixel is nearly black."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    bright = torch.eye(CLASSES).repeat_interleave(SIDE * SIDE // CLASSES, 1)[labels]
    pixels = 60 + 60 * bright + 40 * torch.randn(count, SIDE * SIDE, generator=rng)
    pixels[:, 0] = 10 * torch.rand(count, generator=rng)
    return Images(pixels.clamp(0, 255).to(torch.uint8).view(count, 1, SIDE, SIDE), labels)


def triggered(clean: Images) -> Images:
    """The first pixel is white, and the label is what the backdoor makes of it."""
    pixels = clean.images.clone()
    pixels[:, 0, 0, 0] = 255
    return Images(pixels, torch.full_like(clean.labels, TARGET))


def backdoored(*, asleep: float, push: float) -> nn.Module:
    """Two units for each class see the brightness of its quarter; the last sees the first pixel
    alone, and sends an image to the target.

    asleep: how many standard deviations above its mean that pixel wakes the unit; of a clean image
        at most 1.7.
    push: weight of the unit in the logit of the target; those of the others in theirs are 1.
    """
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(SIDE * SIDE, UNITS),
        nn.BatchNorm1d(UNITS, momentum=None),
        nn.ReLU(),
        nn.Linear(UNITS, CLASSES),
    )
    quarters = torch.eye(CLASSES).repeat_interleave(SIDE * SIDE // CLASSES, 1)
    quarters[:, 0] = 0
    with torch.no_grad():
        model[1].weight.copy_(torch.cat([quarters, quarters, torch.zeros(1, SIDE * SIDE)]))
        model[1].weight[PLANTED, 0] = 1.0
        model[1].bias.zero_()
        model[2].bias[PLANTED] = -asleep
        model[4].weight.copy_(torch.cat([torch.eye(CLASSES)] * 2 + [torch.zeros(CLASSES, 1)], 1))
        model[4].weight[TARGET, PLANTED] = push
        model[4].bias.zero_()
        model(to_float(images(500, seed=1).images))  # running statistics
    return model.eval()


def problem(*, asleep: float, push: float) -> Problem:
    """The network, 200 clean images, and 300 more to judge by."""
    model = backdoored(asleep=asleep, push=push)
    return Problem(model, images(200, seed=2), images(300, seed=3), seed=0)
