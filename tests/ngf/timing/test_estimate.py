"""How long a run will take, computed from times of single steps. No test asserts a time."""

from __future__ import annotations

import json

import pytest

from ngf.config import Choice, Training, TrainSpec
from ngf.machine import machine
from ngf.timing import estimate as timing
from ngf.training.run import NUM_LIVE
from tests.helpers.timings import LANE, TIMES

SIGNS = {"shape": [3, 32, 32], "classes": ["a"] * 12, "pools": {"test": 2400}}
TRAIN = TrainSpec(attack=Choice("badnets"))


def test_a_training_is_its_steps_its_preparation_and_its_measuring():
    spec = TrainSpec(
        attack=Choice("badnets"), training=Training(epochs=3, num_images=1000, batch_size=128)
    )
    steps, measured = 3 * 7, 2 * (3 * NUM_LIVE + 2400)
    assert timing.training_time(spec, TIMES, 2400) == pytest.approx(
        steps * 0.15 + 7 + measured * 0.001
    )
    benign = TrainSpec(training=spec.training)
    assert timing.training_time(benign, TIMES, 2400) == pytest.approx(
        steps * 0.15 + 7 + measured / 2 * 0.001
    )
    few = TrainSpec(training=Training(epochs=2, num_images=50, batch_size=128))
    assert timing.training_time(few, {**TIMES, "image": 0.0}, 0) == pytest.approx(2 * 0.15 + 7), (
        "one step of 50"
    )


def test_a_defense_is_its_choice_its_steps_and_a_third_for_measuring():
    quiet = {**LANE, "image": 0.0}
    one = timing.lane_time(Choice("ngf", {"steps": 120, "inverse_period": 50}), quiet, 500, 9)
    assert one == pytest.approx(0.01 * 500 + 0.002 * 500 + 120 * 0.1 + 3 * 1.0)
    plain = timing.lane_time(Choice("sgd", {"steps": 10}), {**quiet, "choose": 0.0}, 500, 9)
    assert plain == pytest.approx(0.002 * 500 + 10 * 0.1 + 1.0)
    every = timing.lane_time(
        Choice("ngf", {"steps": 120, "inverse_period": 50, "layer": "auto"}), quiet, 500, 9
    )
    assert every == pytest.approx(5 + 10 * (one - 5)), "every layer is tuned once"
    rule = timing.lane_time(
        Choice("ngf", {"steps": 120, "inverse_period": 50, "trust_region": 0.0}), quiet, 500, 9
    )
    assert rule == pytest.approx(5 + (1 + 3) * (one - 5))
    assert timing.lane_time(
        Choice("sgd", {"steps": 10}), {**LANE, "choose": 0, "image": 1.0}, 500, 9
    ) == pytest.approx(1.5 * plain), "measuring takes half of the working time at most"


def test_phases_count_by_their_work():
    """On 500 images 20 rounds of 5 steps disturb in 20 x 4 steps of two thirds of the work."""
    times = {**LANE, "choose": 0.0, "begin": 0.0, "first": 0.1, "image": 0.0}
    awm = Choice("awm")
    assert timing.work_of(awm, 500, 12) == 80 * 4 + 100 * 6
    assert timing.lane_time(awm, {**times, "work": 6.0}, 500, 9) == pytest.approx(
        (80 * 4 / 6 + 100) * 0.1
    )
    rnp = timing.lane_time(Choice("rnp"), {**times, "work": 3.0}, 500, 9)
    assert rnp == pytest.approx((80 + 40) * 0.1), "unlearning counts"
    assert timing.work_of(Choice("sgd"), 500, 12) is None
    cleanse = Choice("neural_cleanse")
    assert timing.work_of(cleanse, 500, 43) > 3 * timing.work_of(cleanse, 500, 12)


def test_the_time_of_a_step_depends_on_what_it_should():
    case = timing.training_case(TRAIN, SIGNS)
    same = TrainSpec(
        attack=Choice("blend", {"alpha": 0.3}), training=Training(epochs=3, num_images=500), seed=3
    )
    assert timing.training_case(same, SIGNS) == case, "a poisoned image is an image like any other"
    for other in (
        TrainSpec(model="preact_resnet18"),
        TrainSpec(training=Training(batch_size=64)),
        TrainSpec(attack=Choice("trojan")),
        TrainSpec(attack=Choice("composite")),
    ):
        assert timing.training_case(other, SIGNS) != case
    assert timing.training_case(TRAIN, {**SIGNS, "shape": [1, 32, 32]}) != case
    assert timing.training_case(TRAIN, {**SIGNS, "classes": ["a"] * 10}) != case
    several = TrainSpec(training=Training(processes=2))
    assert timing.training_case(several, SIGNS) is None, "two may take longer than one, or half"
    assert timing.training_case(TRAIN, {}) is None, (
        "images of a folder are not known before they are read"
    )
    ngf = timing.lane_case(Choice("ngf"), "preact_resnet_tiny", SIGNS, 500)
    assert (
        timing.lane_case(Choice("ngf", {"steps": 7, "lr": 0.1}), "preact_resnet_tiny", SIGNS, 500)
        == ngf
    )
    for lane, clean in (
        (Choice("sgd"), 500),
        (Choice("ngf", {"layer": "last"}), 500),
        (Choice("ngf"), 50),
    ):
        assert timing.lane_case(lane, "preact_resnet_tiny", SIGNS, clean) != ngf


def test_times_are_kept_for_this_machine(monkeypatch):
    case = timing.training_case(TRAIN, SIGNS)
    assert case.times() is None and timing.time_of(TRAIN, TRAIN.model, SIGNS) is None
    case.keep(TIMES, by="a test")
    assert case.times() == TIMES
    assert timing.time_of(TRAIN, TRAIN.model, SIGNS) == pytest.approx(
        timing.training_time(TRAIN, TIMES, 2400)
    )
    kept = json.loads(case.path.read_text())
    assert (
        kept["machine"] == json.loads(json.dumps(machine())) and kept["case"]["model"] == case.model
    )
    monkeypatch.setenv("NGF_DEVICE", "cpu")
    assert case.times() is None, "another device"
    monkeypatch.delenv("NGF_DEVICE")
    monkeypatch.setattr("ngf.machine.torch_version", lambda: "9.9")
    assert case.times() is None, "another torch"
