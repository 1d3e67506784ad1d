"""The learning-rate rule."""

import pytest

from ngf.defenses.fine_tuning.choosing import choose_lr, largest_harmless
from ngf.defenses.fine_tuning.events import Chosen, LayerScore
from ngf.defenses.sgd import SGD
from ngf.evaluate import accuracy
from ngf.finite import Diverged
from tests.helpers.purifications import finish, short


def test_the_learning_rate_rule_keeps_clean_accuracy(problem):
    defense = short("sgd", lr=0.0, layer="last")
    lr, why = choose_lr(defense, problem, "last")
    assert lr in defense.lr_grid
    assert f"{lr:g}" in why
    start = accuracy(problem.model, problem.validation)
    tuned = short("sgd", lr=lr, layer="last").purify(problem)
    finish(tuned)
    assert accuracy(tuned.model, problem.validation) >= start - 0.01 or lr == defense.lr_grid[-1]


@pytest.mark.parametrize("name", ["ngf", "sgd", "adam", "ngf_as_released"])
def test_what_was_chosen_is_told_before_the_first_step(name, problem):
    events = finish(short(name).purify(problem))
    chosen = next(e for e in events[1:] if not isinstance(e, LayerScore))
    assert isinstance(chosen, Chosen) and chosen.num_parameters > 0
    for step in events[events.index(chosen) + 1 :]:
        assert step.lr > 0 and step.update_norm > 0 and step.distance > 0


def test_the_largest_harmless_rate_of_what_was_tried():
    def tried(*validation):
        return [(1 / (k + 1), value) for k, value in enumerate(validation)]

    assert largest_harmless(tried(0.5, 0.985, 0.99, 0.9), 0.99) == (1 / 2, 0.985)
    assert largest_harmless(tried(None, 0.99), 0.99) == (1 / 2, 0.99)
    assert largest_harmless(tried(0.9, 0.5, 0.6), 0.99) == (1 / 3, 0.6), "the smallest"
    assert largest_harmless(tried(0.9, None), 0.99) == (1, 0.9), "the smallest that is sound"
    assert largest_harmless(tried(None, None), 0.99) == (1 / 2, None)

    def untouched():
        yield 1.0, 0.99
        raise AssertionError("what follows is not asked for")

    assert largest_harmless(untouched(), 0.99) == (1.0, 0.99)


def test_the_rule_leaves_out_rates_that_diverge_and_says_so(problem, monkeypatch):
    monkeypatch.setattr(SGD, "lr_grid", (1e20, 1e15, 1e-9))
    defense = short("sgd", lr=0.0, layer="all", batch_norm="eval")
    lr, why = choose_lr(defense, problem, "all")
    assert lr == 1e-9
    assert "largest rate of the grid" in why and "Diverged and left out: 1e+20, 1e+15." in why


def test_the_rule_says_when_every_rate_diverges(problem, monkeypatch):
    monkeypatch.setattr(SGD, "lr_grid", (1e20, 1e15))
    defense = short("sgd", lr=0.0, layer="all", batch_norm="eval")
    with pytest.raises(Diverged, match="Every learning rate of the grid diverges on all") as error:
        choose_lr(defense, problem, "all")
    assert "below 1e+15" in error.value.advice
