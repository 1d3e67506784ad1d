"""By which clean images a defender judges a setting that is to be chosen.

A setting must not be judged on images that it was tuned on. Either there are further clean images
for that (`Problem.validation`), or the defender's own serve twice by **cross-fitting**: they are
cut into `Problem.folds` parts; for each part the model is tuned on the others and judged on this
one; what is called right is summed over all parts. Every image then counts once, judged by a model
that was tuned without it, and no further image is asked for. What is chosen is tuned on all.

A part is tuned on fewer images than the defender has, so a setting looks a little worse than it
is: the choice errs on the side of clean accuracy. Of 500 images one half is nearly as good as all;
of 50 it is not, and five parts, which take more time, leave four fifths to tune on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import torch
from torch import nn

from ngf.data.images import Images
from ngf.defenses.contract import Problem
from ngf.evaluate import accuracy

_ROUNDING = 1e-12  # a drop of exactly the tolerated size is tolerated


class Judge:
    """What a setting does to clean accuracy.

    parts: see the function of that name.
    count: images that judge, over all parts.
    start: accuracy of the model as it came on the same images.
    """

    def __init__(self, problem: Problem, folds: int | None = None) -> None:
        self.model, self.parts = problem.model, parts(problem, folds)
        self.count = sum(len(held) for _, held in self.parts)

    @cached_property
    def start(self) -> float:
        return self._share([self._right(self.model, held) for _, held in self.parts])

    def after(self, tune: Callable[[Problem], nn.Module], tolerated: float) -> float:
        """Accuracy of what `tune` makes of each part. Where parts that were judged have already
        lost more than is tolerated, the others are not tuned, and count as if all of them were
        right: the drop is then larger still.

        tolerated: drop of accuracy, in [0, 1].
        """
        found: list[float] = []
        for problem, held in self.parts:
            found.append(self._right(tune(problem), held))
            rest = [float(len(held)) for _, held in self.parts[len(found) :]]
            at_most = self._share([*found, *rest])
            if not keeps(at_most, self.start, tolerated):
                return at_most
        return self._share(found)

    def _right(self, model: nn.Module, held: Images) -> float:
        """How many of some images are given their label; over folds a whole number, so that sums
        are exact. (With one part the quotient must be the share that it came from, to the bit: it
        was what specifications of the first revision were judged by.)
        """
        right = accuracy(model, held) * len(held)
        return right if len(self.parts) == 1 else float(round(right))

    def _share(self, right: list[float]) -> float:
        return sum(right) / self.count

    @property
    def words(self) -> str:
        """What judged, for a sentence."""
        if len(self.parts) == 1:
            return f"on {self.count:,} further clean images"
        return (
            f"on the {self.count:,} clean images in {len(self.parts)} parts, each judged by a "
            "model that was tuned on the rest"
        )


def parts(problem: Problem, folds: int | None = None) -> list[tuple[Problem, Images]]:
    """A problem to tune on, and the images that then judge: one pair with validation images, else
    one for each fold.

    folds: others than those of the problem.
    """
    if problem.validation is None:
        return cross_fitted(problem, folds or problem.folds)
    return [(problem, problem.validation)]


def keeps(after: float, start: float, tolerated: float) -> bool:
    """Whether accuracy has dropped by no more than `tolerated`."""
    return after >= start - tolerated - _ROUNDING


def cross_fitted(problem: Problem, folds: int) -> list[tuple[Problem, Images]]:
    """For each part of the clean images, drawn by the problem's seed with all classes spread over
    the parts: the problem without it, and the part.

    Raises ValueError for fewer images than two a part.
    """
    clean = problem.clean
    if len(clean) < 2 * folds:
        raise ValueError(f"{len(clean)} clean images cannot be cut into {folds} parts.")
    rng = torch.Generator().manual_seed(problem.seed)
    order = torch.randperm(len(clean), generator=rng).to(clean.labels.device)
    order = order[clean.labels[order].argsort(stable=True)]
    part = torch.arange(len(clean), device=order.device) % folds
    return [
        (replace(problem, clean=clean.take(order[part != k])), clean.take(order[part == k]))
        for k in range(folds)
    ]
