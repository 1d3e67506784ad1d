"""What defenses tell of their work is what goes through the network: images are counted, forward
and on the way back, on a tiny problem.
"""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import replace

import pytest

from ngf.catalogue import load, names
from ngf.defenses.contract import Step
from ngf.defenses.work import known, value_of
from tests.helpers.purifications import short

PHASES = [name for name in names("defenses") if hasattr(load("defenses", name), "phases")]
BATCH, CLEAN, CLASSES = 24, 48, 12
MORE = {  # nothing is chosen, nothing ends early, everything is there
    "rnp": {"threshold": 0.5, "unlearn_until": 0.0},
    "tsbd": {"unlearn_until": 0.0},
    "nad": {"steps": 6},
    "mcr": {"steps": 6},
    "i_bau": {"answer_batch": 12},
    "bti_dbf": {"share": 0.25},
    "pam": {"share": 0.25},
    "unit": {"batch_size": 12},
}


def counted(model) -> list[float]:
    """Grows by the images that go through a model and its copies: 1 forward, 2 on the way back."""
    images: list[float] = []

    def back(gradient) -> None:
        images.append(2 * len(gradient))

    def passed(module, inputs, output) -> None:
        if output.requires_grad:
            output.register_hook(back)

    # functions, which a copy of the model shares
    model.register_forward_hook(lambda module, inputs, output: images.append(len(inputs[0])))
    model.bn.register_forward_hook(passed)
    return images


@pytest.mark.parametrize("name", PHASES)
def test_the_work_that_is_told_is_what_goes_through_the_network(name, problem):
    cls = load("defenses", name)
    defense = short(name, **{"batch_size": BATCH, **MORE.get(name, {})})
    model = copy.deepcopy(problem.model)
    images = counted(model)
    found, steps = Counter[str](), Counter[str]()
    few = replace(problem, model=model, clean=problem.clean.take(slice(0, CLEAN)), validation=None)
    for event in defense.purify(few):
        if isinstance(event, Step) and event.step:
            phase = getattr(event, "phase", "")
            found[phase] += sum(images) / defense.batch_size
            steps[phase] += 1
        images.clear()
    told = known(vars(defense), CLEAN, CLASSES)
    for phase in cls.phases:
        assert steps[phase.name] == value_of(phase.steps, told), phase
        work = value_of(phase.steps, told) * value_of(phase.work, told)
        assert found[phase.name] == pytest.approx(work), phase


def test_a_formula_knows_its_names_and_nothing_else():
    names = {"steps": 7, "round_steps": 3, "share": 0.5}
    assert value_of("ceil(steps / round_steps) * 2 - min(share, 1)", names) == 5.5
    for formula in ("nothing * 2", "steps ** 2", "open('x')", "'x'"):
        with pytest.raises(ValueError, match="not known in a formula"):
            value_of(formula, names)
