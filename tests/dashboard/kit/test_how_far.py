"""How far a run is, and how long its present phase goes on."""

from __future__ import annotations

import pytest

from dashboard.kit.how_far import how_far
from tests.helpers.pages import read


def steps(lane: str, *numbers: int, start: float = 0.0, each: float = 1.0):
    return [
        {"type": "step", "lane": lane, "step": k, "steps": 100, "t": start + each * i}
        for i, k in enumerate(numbers)
    ]


def test_the_steps_of_each_lane():
    events = [*steps("ngf", 20), *steps("sgd", 60), *steps("ngf", 40)]
    far = how_far(events)
    assert (far.fraction, far.words) == (0.5, "NGF step 40 of 100, SGD step 60 of 100")
    assert how_far([]).words == "" and how_far([]).seconds is None
    partial = how_far([{"type": "partial", "fraction": 0.25, "t": 3.0}])
    assert (partial.fraction, partial.words) == (0.25, "25 %")
    assert partial.seconds == pytest.approx(9.0)


def test_a_phase_is_named_and_may_name_files():
    assert how_far([{"type": "phase", "phase": "testing"}]).words == "Testing"
    named = [{"type": "phase", "phase": "left out 1: 1 × not an image (red/[X](http://e).png)"}]
    said = how_far(named).words
    assert "red/[X](http://e).png" not in said and "red/[X](http://e).png" in read(said)
    end = [*steps("ngf", 100), {"type": "phase", "phase": "measuring on the whole test set"}]
    assert how_far(end).words == "Measuring on the whole test set"
    assert how_far([*end, {"type": "resumed"}]).words == "NGF step 100 of 100"


def test_a_lane_that_diverged_does_not_hold_up_the_others():
    events = [*steps("ngf", 50), *steps("sgd", 2)]
    ended = {"type": "diverged", "lane": "sgd", "step": 3, "message": "x"}
    far = how_far([*events, ended])
    assert far.fraction == 0.75
    assert far.words == "NGF step 50 of 100, SGD diverged at step 3"
    assert how_far([*events, {**ended, "step": 0}]).fraction == 0.75


def trial(what: str, tried, number: int, total, t: float, lane: str = "ngf"):
    about = {"what": what, "tried": tried, "number": number, "total": total}
    return {"type": "choosing", "lane": lane, "t": t, **about}


def test_the_choice_of_a_layer_is_counted_and_timed_by_itself():
    events = [
        *steps("ngf", 0, start=5.0),
        *steps("sgd", 0, start=5.0),
        trial("layer", None, 0, 10, 6.0),
        trial("layer", "stem", 1, 10, 16.0),
    ]
    assert how_far(events[:3]).words == "NGF choosing the layer among 10, SGD step 0 of 100"
    assert how_far(events).seconds is None, "no trial is over"
    events += [
        {"type": "layer", "lane": "ngf", "layer": "stem", "score": 0.5, "t": 20.0},
        trial("layer", "a.b", 2, 10, 20.0),
        trial("layer", "c", 3, 10, 24.0),
    ]
    far = how_far(events)
    assert read(far.words) == "NGF choosing the layer, 3 of 10 (c), SGD step 0 of 100"
    assert (far.seconds, far.until) == (pytest.approx(4.0 * 8), "the layer is chosen")


def test_a_rule_that_finds_its_own_end_promises_no_time():
    events = [*steps("sgd", 0), trial("lr", 0.03, 2, None, 9.0, "sgd")]
    far = how_far(events)
    assert far.words == "SGD choosing the learning rate, 0.03 is tried (number 2)"
    assert far.seconds is None
    far = how_far([*steps("ngf", 0), trial("trust_region", 0.1, 1, None, 1.0)])
    assert far.words == "NGF choosing the radius, 0.1 is tried (number 1)"


def test_what_is_left_of_the_steps_does_not_know_the_choice_before_them():
    chosen = {"type": "chosen", "lane": "ngf", "layer": "stem", "t": 60.0}
    events = [*steps("ngf", 0), trial("layer", "stem", 1, 2, 1.0), chosen]
    assert how_far(events).words == "NGF step 0 of 100"
    far = how_far([*events, *steps("ngf", 10, 20, start=61.0)])
    assert far.seconds == pytest.approx(8.0), "20 steps in 2 s; the choice took a minute"
    assert how_far([*events, *steps("ngf", 1, start=61.0)]).seconds is None
