"""What a step of a purification is shown: clean images, drawn and augmented anew for each step."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ngf.data.augment import augment
from ngf.data.images import to_float
from ngf.defenses.contract import Problem

# A prime above any number of steps: no two pairs (seed, step) share their random numbers.
_STEPS = 1_000_003


def step_rng(seed: int, step: int) -> Generator:
    """What all that is random in one step comes from, on the CPU: lanes with one seed see the same
    batches, and a run that was resumed is the undisturbed one.
    """
    return Generator().manual_seed(seed * _STEPS + step)


class Batches:
    """The clean images of a problem in batches.

    size: images in a batch; all of them where there are fewer.
    augmentation: `weak`, `strong`, or `none`.
    """

    def __init__(self, problem: Problem, size: int, augmentation: str) -> None:
        self.clean, self.augmentation = problem.clean, augmentation
        self.size = min(size, len(problem.clean))
        flips = problem.survives_flip
        self._survives_flip = None if flips is None else torch.tensor(flips)

    def index(self, rng: Generator) -> Tensor:
        """Which images one batch has, drawn without repetition: int64 (size,)."""
        drawn = torch.randperm(len(self.clean), generator=rng)[: self.size]
        return drawn.to(self.clean.labels.device)

    def images(self, index: Tensor | slice, rng: Generator) -> Tensor:
        """These images, augmented: float (N, C, H, W) in [0, 1]."""
        images = to_float(self.clean.images[index])
        if self.augmentation == "none":
            return images
        labels = self.clean.labels[index]
        return augment(
            images, labels, rng, survives_flip=self._survives_flip, kind=self.augmentation
        )

    def draw(self, rng: Generator) -> tuple[Tensor, Tensor]:
        """A batch and its labels: float (N, C, H, W), int64 (N,)."""
        index = self.index(rng)
        return self.images(index, rng), self.clean.labels[index]
