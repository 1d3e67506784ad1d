"""Neural Cleanse on a backdoor that was planted by hand, and on none."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from ngf.defenses.contract import Choosing, Problem, Step
from ngf.defenses.neural_cleanse import NeuralCleanse
from ngf.evaluate import accuracy
from ngf.options import SpecError
from tests.helpers.planted_patch import TARGET, planted, problem_of, striped, triggered

PLAIN = {"unlearn_steps": 30, "lr": 0.001}


def purified(problem: Problem, **options):
    purification = NeuralCleanse(**{**PLAIN, **options}).purify(problem)
    purification.batches.augmentation = "none"  # a class is the row that is bright
    return purification, list(purification)


def test_a_planted_trigger_is_found_and_unlearned():
    problem = problem_of(planted(backdoor=True))
    wanted = triggered(striped(200, seed=4))
    assert accuracy(problem.model, wanted) > 0.99
    purification, events = purified(problem)
    about = purification.summary()
    assert about["flagged"] == [TARGET] and about["did"].startswith(f"flagged class {TARGET} (")
    assert "unlearned in 30 steps at learning rate 0.001" in about["did"]
    assert len(about["mask_sizes"]) == len(about["anomaly"]) == 8
    assert accuracy(purification.model, wanted) < 0.3
    assert accuracy(purification.model, problem.validation) > 0.97
    assert [event.phase for event in events] == [""] + ["search"] * 300 + ["unlearn"] * 30
    assert all((event.loss is None) == (event.phase != "unlearn") for event in events)
    assert events[301].fooled > 0.5 > events[-1].fooled
    assert events[300].smallest_mask == pytest.approx(min(about["mask_sizes"]), abs=1e-3)


def test_where_nothing_stands_out_the_model_stays_as_it_came_and_that_is_said():
    problem = problem_of(planted(backdoor=False))
    purification = NeuralCleanse(**PLAIN).purify(problem)
    assert purification.steps == 330
    events = list(purification)
    assert events[-1].step == events[-1].steps == purification.steps == 300
    for name, value in problem.model.state_dict().items():
        assert torch.equal(value, purification.model.state_dict()[name])
    about = purification.summary()
    assert about["flagged"] == [] and about["did"].startswith("flagged no class")
    assert about["did"].endswith("left the model as it came") and max(about["anomaly"]) < 2


def test_the_rate_is_chosen_between_search_and_unlearning():
    problem = problem_of(planted(backdoor=True))
    purification, events = purified(problem, lr=0.0, unlearn_steps=5)
    choosing = [k for k, event in enumerate(events) if isinstance(event, Choosing)]
    assert choosing and set(choosing) == set(range(301, 301 + len(choosing)))
    about = purification.summary()
    assert about["lr"] in [events[k].tried for k in choosing] and about["why"]
    # one that was stopped meanwhile chooses again
    part = NeuralCleanse(**{**PLAIN, "lr": 0.0, "unlearn_steps": 5}).purify(problem)
    for event in part:
        if isinstance(event, Choosing):
            break
    resumed = NeuralCleanse(**{**PLAIN, "lr": 0.0, "unlearn_steps": 5}).purify(problem)
    resumed.batches.augmentation = "none"
    resumed.load_state_dict(copy.deepcopy(part.state_dict()))
    left = list(resumed)
    assert left == events[301:]
    assert resumed.summary() == about
    benign, events = purified(problem_of(planted(backdoor=False)), lr=0.0)
    assert not any(isinstance(event, Choosing) for event in events), "nothing to choose for"
    assert "lr" not in benign.summary()


def test_all_flagged_triggers_have_their_turn(monkeypatch):
    problem = problem_of(planted(backdoor=True))
    purification = NeuralCleanse(
        **{**PLAIN, "search_steps": 5, "threshold": 0.0, "share": 0.5, "batch_norm": "eval"}
    ).purify(problem)
    events = iter(purification)
    while purification.searched is None:
        next(events)
    assert len(purification.flagged) > 1
    seen = set()
    applied = type(purification.triggers).applied

    def watched(self, images, classes):
        assert len(images) == len(classes) == 64
        seen.update(classes.tolist())
        return applied(self, images, classes)

    monkeypatch.setattr(type(purification.triggers), "applied", watched)
    assert isinstance(next(events), Step)
    assert seen == set(purification.flagged)


def test_two_classes_are_too_few():
    problem = problem_of(planted(backdoor=True))
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    clean = replace(problem.clean, labels=problem.clean.labels % 2)
    with pytest.raises(SpecError, match="fewer than three"):
        NeuralCleanse().purify(replace(problem, model=model, clean=clean))
