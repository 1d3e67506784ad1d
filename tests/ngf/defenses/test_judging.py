"""Who judges a setting, and that nobody judges what it was tuned on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from ngf.data.images import Images, to_float
from ngf.defenses.contract import Problem
from ngf.defenses.judging import Judge, cross_fitted, keeps
from ngf.evaluate import accuracy

CLASSES = 3


def numbered(count: int) -> Images:
    """Images that differ: the number of each is its first pixels."""
    images = torch.zeros(count, 1, 2, 2, dtype=torch.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = torch.arange(count) % 256, torch.arange(count) // 256
    return Images(images, torch.arange(count) % CLASSES)


def numbers(images: Images) -> set[int]:
    return set((images.images[:, 0, 0, 0].int() + 256 * images.images[:, 0, 0, 1].int()).tolist())


class Memory(nn.Module):
    """Knows the images that it was given by heart, and calls every other one wrong."""

    def __init__(self, known: Images, without: int = 0) -> None:
        super().__init__()
        self.known, self.labels = to_float(known.images[without:]), known.labels[without:]

    def forward(self, images):
        same = (images[:, None] == self.known[None]).flatten(2).all(2)
        truth = (255 * images[:, 0, 0, 0]).round() + 256 * (255 * images[:, 0, 0, 1]).round()
        wrong = (truth.long() + 1) % CLASSES
        called = torch.where(same.any(1), self.labels[same.int().argmax(1)], wrong)
        return nn.functional.one_hot(called, CLASSES).float()


@pytest.fixture
def whole() -> Problem:
    """A model that knows all 300 clean images, and nothing else to judge by."""
    clean = numbered(300)
    return Problem(Memory(clean), clean, None, seed=3)


@pytest.mark.parametrize("folds", [2, 3, 4])
def test_every_image_judges_once_and_is_tuned_on_otherwise(folds, whole):
    parts = cross_fitted(whole, folds)
    held = [numbers(judged) for _, judged in parts]
    assert sum(map(len, held)) == 300 and set().union(*held) == set(range(300))
    for part, judged in parts:
        assert numbers(part.clean) == set(range(300)) - numbers(judged)
        assert part.model is whole.model and part.seed == whole.seed and part.validation is None
        counts = judged.labels.bincount(minlength=CLASSES)
        assert counts.max() - counts.min() <= 1, "classes are spread over the parts"


def test_the_parts_follow_from_the_seed(whole):
    def first(seed):
        return numbers(cross_fitted(replace(whole, seed=seed), 2)[0][1])

    assert first(3) == first(3) != first(4)


def test_too_few_images_are_an_error(whole):
    with pytest.raises(ValueError, match="3 clean images cannot be cut into 2 parts"):
        Judge(replace(whole, clean=whole.clean.take(slice(3))), folds=2)


def test_the_problem_says_into_how_many_parts(whole):
    few = replace(whole, clean=whole.clean.take(slice(20)), folds=5)
    judge = Judge(few)
    assert [len(held) for _, held in judge.parts] == [4] * 5 and judge.count == 20
    assert judge.words == (
        "on the 20 clean images in 5 parts, each judged by a model that was tuned on the rest"
    )
    assert Judge(replace(few, validation=whole.clean)).count == 300, "others judge where there are"


@pytest.mark.parametrize("folds", [2, 4])
def test_what_is_learned_by_heart_is_worth_nothing(folds, whole):
    """A tuning that fits its images perfectly and knows nothing else is judged to know nothing."""
    judge = Judge(whole, folds)
    assert (judge.start, judge.count) == (1.0, 300)
    assert judge.after(lambda part: Memory(part.clean), tolerated=1.0) == 0.0


def test_validation_images_judge_alone_where_there_are_some(whole):
    validation = numbered(400).take(slice(300, 400))
    judge = Judge(replace(whole, validation=validation))
    tuned = []
    assert judge.after(lambda part: tuned.append(part) or Memory(validation, 7), 1.0) == (
        accuracy(Memory(validation, 7), validation)
    )
    assert [part.clean for part in tuned] == [whole.clean]
    assert judge.words == "on 100 further clean images"


def test_what_cannot_be_harmless_any_more_is_tuned_no_further(whole):
    judge, tuned = Judge(whole, folds=3), []

    def forgets(count):
        def tune(part):
            tuned.append(part)
            return Memory(whole.clean, count)

        return tune

    kept = judge.after(forgets(3), tolerated=0.01)  # 3 of 300: exactly one point
    assert len(tuned) == 3 and kept == 0.99 and keeps(kept, judge.start, 0.01)
    tuned.clear()
    lost = judge.after(forgets(150), tolerated=0.01)
    assert len(tuned) == 1 and not keeps(lost, judge.start, 0.01)


def test_the_judges_are_named(whole):
    assert Judge(whole, 2).words == (
        "on the 300 clean images in 2 parts, each judged by a model that was tuned on the rest"
    )
