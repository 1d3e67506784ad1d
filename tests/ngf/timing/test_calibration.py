"""How long a run will take: steps that are timed, and the arithmetic over them. No test asserts a
time.
"""

from __future__ import annotations

import json
import math

import pytest

from ngf.__main__ import BAD_INPUT, OK, main
from ngf.catalogue import catalogue
from ngf.config import Choice, Training, TrainSpec
from ngf.environment import environment
from ngf.machine import machine, was_made_here
from ngf.places import cache_dir
from ngf.runs.store import Store
from ngf.timing import estimate as timing
from ngf.training.run import NUM_LIVE
from tests.helpers.timings import LANE, TIMES

SIGNS = {"shape": [3, 32, 32], "classes": ["a"] * 12, "pools": {"test": 2400}}
TRAIN = TrainSpec(attack=Choice("badnets"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Times of this test alone; the list of plug-ins is in memory already."""
    catalogue()
    monkeypatch.setenv("NGF_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("NGF_RUNS", str(tmp_path / "runs"))
    return Store()


# ---- the arithmetic


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
        Choice("ngf", {"steps": 120, "inverse_period": 50, "lr": 0.0}), quiet, 500, 9
    )
    assert rule == pytest.approx(5 + (1 + 3) * (one - 5))
    assert timing.lane_time(
        Choice("sgd", {"steps": 10}), {**LANE, "choose": 0, "image": 1.0}, 500, 9
    ) == pytest.approx(1.5 * plain), "measuring takes half of the working time at most"


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


def test_results_tell_whether_they_were_made_here(monkeypatch):
    here = environment()
    assert was_made_here(here)
    assert not was_made_here({**here, "hardware": "another processor"})
    assert not was_made_here({**here, "torch": "1.0"})
    assert not was_made_here({})
    monkeypatch.setenv("NGF_DEVICE", "cuda" if here["device"] == "cpu" else "cpu")
    assert not was_made_here(here), "a run would get another device now"


# ---- the timing itself, on the real training and the real defenses


@pytest.mark.parametrize(
    "words",
    [
        [
            "--data",
            "signs",
            "--set",
            "training.num_images=256",
            "training.batch_size=8",
            "training.epochs=1",
        ],
        [
            "--attack",
            "trojan",
            "--set",
            "training.num_images=256",
            "training.batch_size=8",
            "attack.steps=2",
        ],
        ["--attack", "composite", "--set", "training.num_images=256", "training.batch_size=16"],
        [
            "--data",
            "fashion_mnist",
            "--defense",
            "ngf",
            "--defense",
            "sgd",
            "--num-clean",
            "16",
            "--set",
            "ngf.layer=last",
        ],
        ["--defense", "ngf", "--num-clean", "16"],
    ],
    ids=["formula", "prepared", "controlled", "race", "choosing"],
)
def test_steps_are_timed_and_kept(words, store, monkeypatch, capsys):
    monkeypatch.setattr("ngf.timing.calibrate.BUDGET", 0.01)
    monkeypatch.setattr("ngf.timing.calibrate._CHOOSING", 8)
    assert main(["calibrate", "--json", *words]) == OK
    out = capsys.readouterr()
    found = json.loads(out.out)
    assert found["seconds"] > 0 and "Timing preact_resnet_tiny" in out.err
    for times in found["times"]:
        assert all(math.isfinite(value) and value >= 0 for value in times.values())
        assert times["step"] > 0 and times["image"] > 0
    assert len(found["times"]) == 1 + ("--defense" in words and words.count("--defense") - 1)
    if "trojan" in words:
        assert found["times"][0]["surrogate"] > 0 and found["times"][0]["prepare"] > 0
    if "choosing" in words:
        assert found["times"][0]["choose"] > 0
    assert list((cache_dir() / "calibration").glob("*.json"))


def test_what_cannot_run_is_not_timed(store, capsys):
    for words, said in (
        (["--model", "nonsense"], "preact_resnet_tiny"),
        (["--defense", "nonsense"], "ngf"),
        (["--attack", "badnets", "--set", "attack.target=50"], "does not exist"),
    ):
        assert main(["calibrate", "--json", *words]) == BAD_INPUT
        assert said in json.loads(capsys.readouterr().out)["error"]["message"]
