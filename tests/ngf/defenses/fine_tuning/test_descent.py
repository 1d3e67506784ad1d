"""Schedules of the learning rate."""

import pytest
import torch

from ngf.defenses.fine_tuning.descent import scheduled
from tests.helpers.purifications import finish, short


def test_cosine_is_that_of_torch():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.3)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    for step in range(20):
        assert scheduled(0.3, step, 20, "cosine") == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
    assert scheduled(0.3, 7, 20, "constant") == 0.3


@pytest.mark.parametrize("name", ["sgd", "adam"])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_steps_are_as_long_as_the_schedule_says(name, schedule, problem):
    defense = short(name, layer="linear", lr=0.1, batch_norm="eval", schedule=schedule)
    rates = [event.lr for event in finish(defense.purify(problem)) if hasattr(event, "loss")][1:]
    assert rates == [scheduled(0.1, step, 3, schedule) for step in range(3)]


def test_the_schedule_sets_the_rate_of_the_optimizer(problem):
    """Without momentum a step is the rate times the gradient, the same for both schedules at
    first.
    """
    lengths = {}
    for schedule in ("constant", "cosine"):
        defense = short(
            "sgd", layer="linear", lr=1e-4, batch_norm="eval", momentum=0.0, schedule=schedule
        )
        events = finish(defense.purify(problem))
        lengths[schedule] = [event.update_norm for event in events if hasattr(event, "loss")][1:]
    shares = [b / a for a, b in zip(lengths["constant"], lengths["cosine"], strict=True)]
    assert shares == pytest.approx([1.0, 0.75, 0.25], rel=0.02)
