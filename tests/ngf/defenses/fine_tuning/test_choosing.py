"""The learning-rate rule."""

from dataclasses import replace

import pytest

from ngf.catalogue import load
from ngf.defenses import strength
from ngf.defenses.contract import Choosing
from ngf.defenses.fine_tuning import choosing
from ngf.defenses.fine_tuning.choosing import choose_lr
from ngf.defenses.fine_tuning.events import Chosen, LayerScore
from ngf.defenses.sgd import SGD
from ngf.evaluate import accuracy
from ngf.finite import Diverged
from tests.helpers.purifications import asked, finish, short


def test_the_learning_rate_rule_keeps_clean_accuracy(problem):
    defense = short("sgd", lr=0.0, layer="last")
    lr, why = asked(choose_lr(defense, problem, "last"))
    assert f"{lr:g} is the largest learning rate tried" in why
    start = accuracy(problem.model, problem.validation)
    tuned = short("sgd", lr=lr, layer="last").purify(problem)
    finish(tuned)
    assert accuracy(tuned.model, problem.validation) >= start - 0.01


def test_a_pick_that_nothing_larger_was_tried_against_says_so(problem, monkeypatch):
    monkeypatch.setattr(SGD, "usual", 1e-9)
    monkeypatch.setattr(strength, "_DECADES_UP", 0)
    _lr, why = asked(choose_lr(short("sgd", lr=0.0, batch_norm="eval"), problem, "linear"))
    assert "tried: 1e-09, 3e-09). Nothing larger was tried" in why


def test_the_reason_says_that_every_rate_harms(problem, monkeypatch):
    monkeypatch.setattr(strength, "_DECADES_DOWN", 1)
    monkeypatch.setattr(strength, "TOLERATED_DROP", -1.0)
    lr, why = asked(choose_lr(short("sgd", steps=1), problem, "all"))
    assert "No learning rate that was tried keeps clean accuracy within one point" in why
    assert "tried: 0.2, 0.02); " in why and why.endswith(f"{lr:g} keeps most of it.")


@pytest.mark.parametrize("name", ["sgd", "adam", "ngf", "ngf_as_released"])
def test_without_validation_images_the_rule_holds_images_back(name, problem, monkeypatch):
    """Each rate is judged by models that were tuned on a half; what is chosen is tuned on all."""
    seen: list[tuple[float, frozenset[bytes]]] = []
    begin = choosing.begin

    def watched(defense, part, layer, lr):
        seen.append((lr, frozenset(image.numpy().tobytes() for image in part.clean.images)))
        return begin(defense, part, layer, lr)

    monkeypatch.setattr(choosing, "begin", watched)
    layer = {} if name == "ngf_as_released" else {"layer": "linear"}
    wanted = {getattr(load("defenses", name), "strength", "lr"): 0.0, "steps": 1, **layer}
    events = finish(short(name, **wanted).purify(replace(problem, validation=None)))
    (chosen,) = [event for event in events if isinstance(event, Chosen)]
    assert "on the 60 clean images in 2 parts, each judged by a model" in chosen.why
    everything = frozenset(image.numpy().tobytes() for image in problem.clean.images)
    *trials, (lr, last) = seen
    assert last == everything and lr == chosen.lr
    assert trials and all(len(images) == 30 and images < everything for _, images in trials)
    judged = [images for rate, images in trials if rate == chosen.lr]
    assert len(judged) == 2 and judged[0] | judged[1] == everything


@pytest.mark.parametrize("name", ["ngf", "sgd", "adam", "ngf_as_released"])
def test_what_was_chosen_is_told_before_the_first_step(name, problem):
    events = finish(short(name).purify(problem))
    chosen = next(e for e in events[1:] if not isinstance(e, Choosing | LayerScore))
    assert isinstance(chosen, Chosen) and chosen.num_parameters > 0
    for step in events[events.index(chosen) + 1 :]:
        assert step.lr > 0 and step.update_norm > 0 and step.distance > 0


def test_the_rule_leaves_out_rates_that_diverge_and_says_so(problem, monkeypatch):
    rates = {0: 1e20, -2: 1e15}
    monkeypatch.setattr(strength, "half_decade", lambda usual, k: rates.get(k, 1e-9))
    monkeypatch.setattr(choosing, "highest", lambda defense, name: 1e99)
    defense = short("sgd", lr=0.0, layer="all", batch_norm="eval")
    lr, why = asked(choose_lr(defense, problem, "all"))
    assert lr == 1e-9
    assert "largest learning rate tried" in why
    assert "Diverged and left out: 1e+20, 1e+15." in why


def test_the_rule_says_when_every_rate_diverges(problem, monkeypatch):
    monkeypatch.setattr(strength, "half_decade", lambda usual, k: 1e20 if k else 1e21)
    monkeypatch.setattr(choosing, "highest", lambda defense, name: 1e99)
    defense = short("sgd", lr=0.0, layer="all", batch_norm="eval")
    match = "Every learning rate that was tried diverges on all"
    with pytest.raises(Diverged, match=match) as error:
        asked(choose_lr(defense, problem, "all"))
    assert "learning rate of your own, below 1e+20" in error.value.advice


def test_each_trial_is_told_before_it_is_made(problem, monkeypatch):
    made: list[float] = []
    begin = choosing.begin

    def watched(defense, part, layer, lr):
        made.append(lr)
        return begin(defense, part, layer, lr)

    monkeypatch.setattr(choosing, "begin", watched)
    purification = short("ngf", layer="last", trust_region=0.0, steps=1).purify(problem)
    told: list[Choosing] = []
    for event in purification:
        if isinstance(event, Choosing):
            assert event.tried not in made
            told.append(event)
        elif isinstance(event, Chosen):
            break
    assert [event.number for event in told] == list(range(1, len(told) + 1)) and len(told) > 1
    assert {event.what for event in told} == {"trust_region"}
    assert {event.tried for event in told} == set(made)


def test_each_layer_is_told_with_how_many_there_are(problem):
    events = finish(short("sgd", layer="auto", steps=1).purify(problem))
    told = [event for event in events if isinstance(event, Choosing)]
    scored = [event.layer for event in events if isinstance(event, LayerScore)]
    assert [event.tried for event in told] == [None, *scored]
    assert [event.number for event in told] == list(range(len(told)))
    assert {event.total for event in told} == {len(scored)}
