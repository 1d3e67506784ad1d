"""Contract of every defense, present and future."""

import copy
import math

import pytest
import torch

from ngf.catalogue import names
from ngf.defenses.contract import Step
from ngf.defenses.fine_tuning.events import Chosen, LayerScore
from tests.helpers.purifications import finish, short


@pytest.mark.parametrize("name", names("defenses"))
def test_every_defense_keeps_its_promises(name, problem):
    kept = copy.deepcopy(problem.model.state_dict())
    first, second = short(name).purify(problem), short(name).purify(problem)
    events, again = finish(first), finish(second)
    assert events == again, "deterministic for a seed"
    steps = [event for event in events if isinstance(event, Step)]
    assert [step.step for step in steps] == [0, 1, 2, 3] and events[0] is steps[0]
    assert isinstance(next(e for e in events[1:] if not isinstance(e, LayerScore)), Chosen)
    for step in steps[1:]:
        assert step.steps == 3
        assert all(
            math.isfinite(value) for value in (step.loss, step.lr, step.update_norm, step.distance)
        )
        with pytest.raises(AttributeError):
            step.loss = 0.0
    assert steps[-1].distance > 0
    assert all(
        torch.equal(problem.model.state_dict()[key], value) for key, value in kept.items()
    ), "a copy is tuned"
    assert not first.model.training
    assert first.model(torch.rand(2, 3, 32, 32)).isfinite().all()


@pytest.mark.parametrize("name", names("defenses"))
def test_a_purification_resumes_to_the_last_bit(name, problem, tmp_path):
    whole = short(name, steps=4).purify(problem)
    finish(whole)
    part = short(name, steps=4).purify(problem)
    for event in part:
        if isinstance(event, Step) and event.step == 2:
            break
    torch.save(part.state_dict(), tmp_path / "state.pt")
    resumed = short(name, steps=4).purify(problem)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert [event.step for event in resumed] == [3, 4]
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[key]), key
