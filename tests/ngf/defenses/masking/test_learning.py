"""Which channels a threshold prunes, which threshold is taken, and by whose word."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from ngf.data.images import Images
from ngf.defenses.contract import Problem
from ngf.defenses.judging import cross_fitted
from ngf.defenses.masking.learning import THRESHOLDS, LearnThenPrune, MaskLearner
from ngf.options import SpecError

CLASSES, COUNT = 4, 400


class Network(nn.Module):
    """Calls an image the class whose pixel is bright. Channels 4 and 5 of the norm do nothing, and
    channels 0 to 3 carry the classes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6)
        self.last = nn.Linear(6, CLASSES)
        with torch.no_grad():
            self.norm.bias.copy_(torch.arange(6) / 10)
            self.last.weight.zero_()
            self.last.weight[:, :CLASSES] = torch.eye(CLASSES)
            # an image that wakes no channel is called the last class
            self.last.bias.copy_(torch.arange(CLASSES) / 100 - self.norm.bias[:CLASSES])

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.norm(images.flatten(1)))


def bright(count: int) -> Images:
    """The pixel of the class is bright, of the first four; the others hold the image's number."""
    number = torch.arange(count)
    labels = number % CLASSES
    pixels = torch.zeros(count, 1, 1, 6, dtype=torch.uint8)
    pixels[number, 0, 0, labels] = 255
    pixels[:, 0, 0, 4], pixels[:, 0, 0, 5] = number // 256, number % 256
    return Images(pixels, labels)


class Told(MaskLearner):
    """Masks that are told: the last step sets them."""

    def __init__(self, told: list[float], steps: int, problem: Problem) -> None:
        super().__init__({"norm": torch.ones(6)}, lr=0.1, momentum=0.9, steps=steps)
        self.told, self.problem = torch.tensor(told), problem

    def advance(self, rng: torch.Generator) -> float:
        self.left -= 1
        if not self.left:
            with torch.no_grad():
                self.masks["norm"].copy_(self.told)
        return 1.0


@pytest.fixture
def problem() -> Problem:
    return Problem(Network().eval(), bright(COUNT), bright(100), seed=0)


def purified(problem: Problem, told: list[float], threshold: float = 0.0, steps: int = 2):
    purification = LearnThenPrune(problem, lambda part: Told(told, steps, part), threshold)
    return purification, list(purification)


def test_a_given_threshold_prunes_weights_at_or_below_it_and_no_bias(problem):
    told = [0.2, 0.3, 0.31, 0.9, 0.0, 1.0]
    purification, events = purified(problem, told, threshold=0.3)
    assert purification.model.norm.weight.tolist() == [0, 0, 1, 1, 0, 1]
    assert torch.equal(purification.model.norm.bias, problem.model.norm.bias)
    assert [(e.step, e.steps, e.phase) for e in events] == [
        (0, 3, "mask"),
        (1, 3, "mask"),
        (2, 3, "mask"),
        (3, 3, "prune"),
    ]
    assert events[2].kept == pytest.approx(sum(told) / 6) and events[3].kept == 0.5
    summary = purification.summary()
    assert (summary["threshold"], summary["pruned"], summary["units"]) == (0.3, 3, 6)


def test_the_rule_takes_the_largest_threshold_before_the_first_that_harms(problem):
    """Channels 4 and 5 are of no use; channel 0 has a quarter of the images."""
    purification, events = purified(problem, [0.42, 1.0, 1.0, 1.0, 0.07, 0.33])
    assert purification.model.norm.weight.tolist() == [0 if k in (4, 5) else 1 for k in range(6)]
    summary = purification.summary()
    # 0.35 prunes both; 0.45 would take channel 0
    assert summary["threshold"] == 0.35 and "the next, 0.45, does not" in summary["why"]
    assert "100.0% before, 100.0% after" in summary["why"]
    assert [e.steps for e in events if e.phase == "mask"] == [21, 21, 6]  # 0.05, 0.1, 0.35, 0.45
    assert events[-1].step == events[-1].steps == 2 + 3


def test_where_the_mildest_harms_it_is_taken_and_said(problem):
    purification, events = purified(problem, [0.01, 1.0, 1.0, 1.0, 0.5, 0.9])
    assert purification.model.norm.weight.tolist() == [0, 1, 1, 1, 1, 1]
    assert events[-1].step == events[-1].steps == 3
    assert purification.summary()["why"].startswith("Every threshold costs more than one point")


def test_masks_that_stay_open_prune_nothing(problem):
    purification, events = purified(problem, [1.0] * 6)
    assert events[-1].step == events[-1].steps == 3 and events[-1].kept == 1.0
    assert purification.summary()["threshold"] == THRESHOLDS[0]
    assert "nothing stronger was tried" in purification.summary()["why"]


def test_no_image_judges_a_mask_that_it_had_a_say_in(problem):
    """Each part's masks are other ones: part 0 prunes a class at 0.25, part 1 never, all at 0.5."""
    own = replace(problem, validation=None)
    told = [[1.0, 1.0, 1.0, 0.5, 0.2, 0.9], [0.23, 1.0, 1.0, 1.0, 0.2, 1.0], [1.0] * 4 + [0.2, 1.0]]
    seen: list[Images] = []

    def learn(part: Problem) -> Told:
        seen.append(part.clean)
        return Told(told[len(seen) - 1], 2, part)

    purification = LearnThenPrune(own, learn, 0.0)
    list(purification)
    assert len(seen[0]) == COUNT
    for (part, held), mine in zip(cross_fitted(own, 2), seen[1:], strict=True):
        assert torch.equal(part.clean.images, mine.images)
        assert not (held.images[:, None] == mine.images[None]).flatten(2).all(2).any()
    assert purification.summary()["threshold"] == 0.2
    assert purification.model.norm.weight.tolist() == [1, 1, 1, 1, 0, 1]
    # without class 0 every fourth image of the first part is called wrong: an eighth of all
    assert purification.walk.judge.start == 1.0
    assert purification.walk.after == [1.0, 1.0, 1 - 1 / 8]  # 0.05 prunes nothing


def test_too_few_images_to_choose_by_are_refused(problem):
    few = replace(problem, clean=bright(3), validation=None)
    with pytest.raises(SpecError, match="Give more images, or threshold"):
        purified(few, [1.0] * 6)
    purified(few, [1.0] * 6, threshold=0.5)
