"""What a purification that goes step by step does without its method."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ngf.data.images import Images
from ngf.defenses.contract import Choosing, Problem
from ngf.defenses.stepwise import Stepwise
from ngf.finite import Diverged


class Drift(Stepwise):
    """Adds a random number in each step, and its loss is that number times `scale`."""

    scale = 1.0

    def __init__(self, problem):
        super().__init__(problem, 4)
        self.total = 0.0

    def prepared(self):
        yield Choosing("lr")

    def advance(self, rng):
        self.model.train()
        found = torch.rand(1, generator=rng).item()
        with torch.no_grad():
            self.model.weight.add_(found)
        self.total += found
        return self.scale * found

    def kept(self):
        return {"total": self.total}

    def restore(self, kept):
        self.total = kept["total"]

    def summary(self):
        return {"steps": self.step, "did": "drifted", "total": self.total}


@pytest.fixture
def problem() -> Problem:
    pixels = torch.zeros(2, 1, 2, 2, dtype=torch.uint8)
    return Problem(nn.Linear(2, 2), Images(pixels, torch.zeros(2, dtype=torch.int64)), None, 7)


def test_it_begins_with_the_model_as_it_came_then_chooses_then_steps(problem):
    drift, kinds = Drift(problem), []
    before = problem.model.weight.clone()
    for event in drift:
        kinds.append(event.kind if isinstance(event, Choosing) else event.step)
        assert not drift.model.training
        assert torch.equal(drift.model.weight, before) == (drift.step == 0)
    assert kinds == [0, "choosing", 1, 2, 3, 4]
    assert torch.equal(problem.model.weight, before)


def test_it_goes_on_from_a_state_and_begins_anew_where_it_still_chose(problem):
    whole = Drift(problem)
    events = list(whole)
    part = Drift(problem)
    for done, event in enumerate(part):
        resumed = Drift(problem)
        resumed.load_state_dict(part.state_dict())
        assert list(resumed) == (events if done < 2 else events[done + 1 :]), event
        assert torch.equal(resumed.model.weight, whole.model.weight)
        assert resumed.summary() == whole.summary()


def test_a_loss_that_is_no_number_ends_it_at_its_step(problem):
    drift = Drift(problem)
    with pytest.raises(Diverged, match="no longer a number at step 2"):
        for event in drift:
            if not isinstance(event, Choosing) and event.step == 2:
                drift.scale = float("inf")
