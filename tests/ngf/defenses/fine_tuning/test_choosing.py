"""The learning-rate rule."""

from ngf.defenses.fine_tuning.choosing import choose_lr
from ngf.evaluate import accuracy
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
