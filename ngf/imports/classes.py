"""Which output of a model means which class of the images.

Folders are sorted by their names, and most training code has sorted them in the same way. Where
that is not so, the model's own predictions tell: of all assignments of classes to outputs the one
that agrees with most predictions (Kuhn 1955), which a person then confirms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ngf.options import Explained

CLOSE = 0.03  # share of images that an assignment may gain before the order of names is doubted


class ClassesDoNotFit(Explained, ValueError):
    """Images of more classes than the model tells apart."""

    kind = "bad_input"
    advice = "Give the images that this model was made for, or leave out the classes it lacks."


@dataclass(frozen=True)
class Assignment:
    """outputs: the output of each class, (K,). agreement: share of the images whose prediction is
    then right. by_name: whether it is what the names say.
    """

    outputs: tuple[int, ...]
    agreement: float
    by_name: bool


def confusion(predicted: Tensor, numbers: Tensor, num_labels: int, num_outputs: int) -> Tensor:
    """Counts of images: int64 (num_labels, num_outputs).

    predicted, numbers: int64 (N,), outputs and labels.
    """
    places = numbers * num_outputs + predicted
    return torch.bincount(places, minlength=num_labels * num_outputs).view(num_labels, num_outputs)


def by_name(labels: Sequence[str], num_outputs: int) -> tuple[int, ...] | None:
    """What the names of the classes say: numbers are outputs, and as many names as outputs are in
    their order; None where they say nothing.
    """
    if all(label.isdigit() for label in labels):
        numbers = tuple(map(int, labels))
        if max(numbers) < num_outputs:
            return numbers
    return tuple(range(num_outputs)) if len(labels) == num_outputs else None


def assign(counts: Tensor, plain: tuple[int, ...] | None) -> Assignment:
    """What the names say where it agrees, else what agrees best.

    counts: see `confusion`. plain: see `by_name`. Raises ClassesDoNotFit.
    """
    num_labels, num_outputs = counts.shape
    if num_labels > num_outputs:
        raise ClassesDoNotFit(
            f"The images have {num_labels} classes and the model has {num_outputs} outputs."
        )
    total = int(counts.sum())
    _, columns = linear_sum_assignment(counts.numpy(), maximize=True)
    best = Assignment(tuple(map(int, columns)), _hits(counts, columns) / total, by_name=False)
    if plain is not None:
        agreement = _hits(counts, plain) / total
        if agreement >= best.agreement - CLOSE:
            return Assignment(plain, agreement, by_name=True)
    return best


def _hits(counts: Tensor, columns: object) -> int:
    return int(counts[torch.arange(len(counts)), torch.as_tensor(columns)].sum())


def named(labels: list[str], outputs: tuple[int, ...], num_outputs: int) -> list[str]:
    """Names of all outputs; those that no image stands for are called by their number."""
    names = [f"output {k}" for k in range(num_outputs)]
    for label, output in zip(labels, outputs, strict=True):
        names[output] = label
    return names
