"""What is found out of a model before it is imported, and what only a person can say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ngf.imports.classes import Assignment
from ngf.imports.pictures import LEAST, Pictures
from ngf.imports.preprocessing import Tried, model_of, outputs
from ngf.models.of_others.recognize import Fit, Shape
from ngf.options import Explained
from ngf.outside import listing

CLOSE = 0.01  # share of images between two networks of which a person has to say which it is
SURE = 0.9  # probability from which a prediction stands for a label that nobody has given
_SHOWN = 8  # of what was tried


class TooFewSure(Explained, ValueError):
    """Images without labels of which the model is not sure."""

    kind = "bad_input"
    advice = "Label the images: a folder for each class, or a CSV file with names and labels."


@dataclass(frozen=True)
class Question:
    """option: the word of `ngf import` that answers it. choices: what it may be, if it is one of a
    few.
    """

    option: str
    text: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """Everything that was found out. tried: the best first. pictures, numbers: those that are used,
    and the output of the model for each, int64 (N,).
    """

    shape: Shape
    fits: Sequence[Fit]
    tried: Sequence[Tried]
    pictures: Pictures
    numbers: Tensor
    assignment: Assignment | None

    @property
    def best(self) -> Tried:
        return self.tried[0]


def settle(
    shape: Shape,
    fits: Sequence[Fit],
    tried: Sequence[Tried],
    pictures: Pictures,
    tensors: dict[str, Tensor],
    given: Sequence[int] | None = None,
) -> Found:
    """given: the output of each class, where a person has said it. Raises TooFewSure."""
    best = tried[0]
    if pictures.labeled:
        assigned = best.assignment
        assert assigned is not None
        if given is not None:
            assigned = Assignment(tuple(given), assigned.agreement, by_name=True)
        numbers = pictures.numbers.new_tensor(assigned.outputs)[pictures.numbers]
        return Found(shape, fits, tried, pictures, numbers, assigned)
    how = best.preprocessing
    model = model_of(best.fit, shape, how, tensors)
    logits = outputs(model, pictures.decoded(how.side, how.fit, shape.in_channels))
    sure, called = logits.softmax(1).max(1)
    rows = (sure >= SURE).nonzero()[:, 0]
    if len(rows) < LEAST or len(called[rows].unique()) < 2:
        raise TooFewSure(
            f"The images have no labels, and the model is sure of {len(rows)} of "
            f"{len(pictures)} only (probability {SURE:.0%} or more)."
        )
    return Found(shape, fits, tried, pictures.take(rows), called[rows], None)


def questions(
    found: Found, *, expect: float, model: str, resize: str | None, classes: bool
) -> Iterator[Question]:
    """What is not clear. expect: percent of clean accuracy; the others: what was said already."""
    best = found.best
    rivals = {one.fit.name: one for one in reversed(found.tried) if one.count == best.count}
    close = [name for name, one in rivals.items() if one.agreement > best.agreement - CLOSE]
    if len(close) > 1 and not model:
        told = "; ".join(
            f"{rivals[name].fit.title} ({rivals[name].agreement:.1%})" for name in close
        )
        yield Question(
            "model",
            f"The weights fit several networks, and the images do not tell them apart: {told}. "
            "Which one is it?",
            tuple(close),
        )
    shapes = {size for size in found.pictures.sizes if size[0] != size[1]}
    if shapes and resize is None:
        yield Question(
            "resize",
            "Not all images are squares. Shall they be squeezed into one, or the middle be cut "
            "out?",
            ("squeeze", "crop"),
        )
    assigned = found.assignment
    if assigned is None:
        yield Question(
            "accept",
            "The images have no labels, so the model's own predictions stand for them, where it is "
            f"sure ({len(found.pictures):,} images). Accuracy then only says how many predictions "
            "have stayed.",
        )
    elif not assigned.by_name and not classes:
        yield Question(
            "classes",
            f"In the order of their names the classes do not fit the outputs. As listed, "
            f"{assigned.agreement:.1%} of the predictions are right. Is this what they mean?",
        )
    if assigned is not None and 100 * assigned.agreement < expect:
        yield Question(
            "expect",
            f"Only {assigned.agreement:.1%} of the predictions are right, less than {expect:g} %. "
            "A wrong normalization, size or order of classes does that. Say which is right, or "
            f"what you expect.",
        )


def told(found: Found) -> dict[str, Any]:
    """What was found, plain JSON."""
    best, pictures, assigned = found.best, found.pictures, found.assignment
    return {
        "network": {"name": best.fit.name, "title": best.fit.title},
        "networks": [{"name": one.name, "title": one.title} for one in found.fits],
        "num_classes": found.shape.num_classes,
        "preprocessing": best.preprocessing.to_json(),
        "tried": [_tried(one) for one in found.tried[:_SHOWN]],
        "classes": None
        if assigned is None
        else {
            "labels": pictures.labels,
            "outputs": list(assigned.outputs),
            "agreement": assigned.agreement,
            "by_name": assigned.by_name,
        },
        "images": {
            "count": len(pictures),
            "gray": pictures.gray,
            "left_out": listing.summary(pictures.left_out),
        },
        "unused": list(best.fit.extra[:20]),
    }


def _tried(one: Tried) -> dict[str, Any]:
    return {
        "network": one.fit.name,
        "preprocessing": str(one.preprocessing),
        "agreement": one.agreement,
        "count": one.count,
        "labeled": one.assignment is not None,
    }
