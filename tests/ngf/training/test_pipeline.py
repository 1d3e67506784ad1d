"""The whole flow in small: train, gate, purify a race, resume, weights on disk, evaluation."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file

import ngf.defenses.run
from ngf.checkpoints.weights import WeightsError, load_model
from ngf.config import Choice, PurifySpec, Training, TrainSpec
from ngf.defenses.race import Pace
from ngf.evaluate import Rates, der, wilson
from ngf.runs.child import execute
from ngf.runs.folder import EVENTS, PREVIEW, SPEC, WEIGHTS
from ngf.runs.recorder import Recorder
from ngf.runs.store import Store
from ngf.training.loop import GateError, check_gate, one_cycle

QUICK = Training(num_images=600, epochs=2, batch_size=64, min_ca=0.05, min_asr=0.0)
TRAIN = TrainSpec(attack=Choice("badnets"), training=QUICK)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def trained(store):
    run = store.submit(TRAIN)
    assert execute(run) == "done", run.error
    return run


def race(parent: str, steps: int = 4) -> PurifySpec:
    small = {"steps": steps, "batch_size": 32}
    return PurifySpec(
        parent=parent,
        num_clean=60,
        lanes=(Choice("ngf", {**small, "layer": "stage2.block1.conv2"}), Choice("sgd", small)),
    )


def test_training_leaves_a_complete_run(trained):
    result = trained.result
    assert {"ca", "asr", "ra", "n_clean", "n_triggered", "ca_interval", "environment"} <= set(
        result
    )
    assert result["n_clean"] == 2400
    assert result["n_triggered"] == 2400 - 199 or result["n_triggered"] < 2400
    assert result["num_poisoned"] == 60
    low, high = result["ca_interval"]
    assert low < result["ca"] < high
    epochs = [event["step"] for event in trained.events() if event["type"] == "epoch"]
    assert epochs == [1, 2]
    assert (trained.path / PREVIEW).exists()


def test_one_spec_in_two_stores_gives_the_same_numbers(trained, tmp_path):
    other = Store(tmp_path).submit(TRAIN)
    assert other.id == trained.id
    execute(other)
    for name in ("ca", "asr", "ra"):
        assert other.result[name] == trained.result[name]
    first, second = (load_file(run.path / WEIGHTS) for run in (trained, other))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_race_measures_before_and_after(store, trained):
    run = store.submit(race(trained.id))
    assert execute(run) == "done", run.error
    result = run.result
    assert result["before"]["ca"] == trained.result["ca"]
    assert result["before"]["asr"] == trained.result["asr"]
    assert set(result["lanes"]) == {"ngf", "sgd"}
    assert result["after"] == result["lanes"]["ngf"]["after"]
    for lane in ("ngf", "sgd"):
        steps = [
            event["step"]
            for event in run.events()
            if event["type"] == "step" and event["lane"] == lane
        ]
        assert steps == [0, 1, 2, 3, 4]
        assert load_model(store, f"{run.id}:{lane}").lane == lane
    ends = [event for event in run.events() if event["type"] == "step" and event["step"] in (0, 4)]
    assert all(0 <= event["ca"] <= 1 for event in ends)


def test_a_race_cut_short_ends_like_the_undisturbed_one(store, trained, tmp_path):
    whole = store.submit(race(trained.id))
    execute(whole)
    folder = tmp_path / "again"
    folder.mkdir()
    other = Store(folder)
    (folder / trained.id).symlink_to(trained.path)
    run = other.submit(race(trained.id))

    class Cut(Exception):
        pass

    def stop_at(recorder, write):
        if recorder.last_step("sgd") >= 2:
            recorder.save_state(write)
            raise Cut

    original = Recorder.check
    Recorder.check = stop_at
    try:
        with pytest.raises(Cut):
            ngf.defenses.run.run(run.path)
    finally:
        Recorder.check = original
    ngf.defenses.run.run(run.path)
    for lane in ("ngf", "sgd"):
        name = f"purified.{lane}.safetensors"
        first, second = load_file(whole.path / name), load_file(run.path / name)
        assert all(torch.equal(first[key], second[key]) for key in first)
        steps = [
            event["step"]
            for event in run.events()
            if event["type"] == "step" and event["lane"] == lane
        ]
        assert steps == [0, 1, 2, 3, 4]
    assert run.result["after"] == whole.result["after"]


def test_a_weak_model_is_refused_with_numbers(tmp_path):
    spec = TrainSpec(training=Training(num_images=64, epochs=1, batch_size=64))
    run = Store(tmp_path).submit(spec)
    assert execute(run) == "failed"
    assert run.error["kind"] == "sanity_gate"
    assert "Clean accuracy is" in run.error["message"]
    assert "2,400 test images" in run.error["message"]
    assert [event["type"] for event in run.events()].count("epoch") == 1


def test_gate_refuses_a_weak_attack():
    settings = Training(min_asr=0.6)
    with pytest.raises(GateError, match=r"succeeds on 10.0% of 100"):
        check_gate(Rates(95, 100, 10, 80, 100), settings)
    check_gate(Rates(95, 100), settings)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("cut", "cannot be read as safetensors"),
        ("nan", "not finite"),
        ("shape", "the model needs"),
        ("names", "it lacks"),
    ],
)
def test_bad_checkpoints_are_refused_with_the_reason(store, trained, tmp_path, damage, message):
    folder = tmp_path / trained.id
    folder.mkdir()
    (folder / SPEC).write_bytes((trained.path / SPEC).read_bytes())
    weights = load_file(trained.path / WEIGHTS)
    target = folder / WEIGHTS
    if damage == "nan":
        weights["linear.bias"][0] = math.nan
    elif damage == "shape":
        weights["linear.bias"] = torch.zeros(3)
    elif damage == "names":
        weights.pop("linear.bias")
    save_file(weights, target)
    if damage == "cut":
        target.write_bytes(target.read_bytes()[:1000])
    with pytest.raises(WeightsError, match=message):
        load_model(Store(tmp_path), trained.id)


def test_wilson_and_der():
    assert wilson(0, 10) == pytest.approx([0.0, 0.2775], abs=1e-4)
    assert wilson(95, 100) == pytest.approx([0.8882, 0.9785], abs=1e-4)
    assert der(Rates(99, 100, 100, 0, 100), Rates(98, 100, 10, 88, 100)) == pytest.approx(0.945)
    assert der(Rates(99, 100), Rates(98, 100)) is None


def test_measuring_never_takes_more_than_a_third():
    pace = Pace()
    for step in range(1, 200):
        pace.working += 0.02
        if pace.due(step, 1000):
            pace.measuring += 0.1
    assert pace.measuring <= (pace.working + pace.measuring) / 3 + 0.1
    assert pace.measuring >= 0.25 * (pace.working + pace.measuring)


def test_one_cycle_rises_and_falls():
    rates = [one_cycle(k / 100, 0.1) for k in range(100)]
    assert max(rates) == pytest.approx(0.1, rel=1e-3)
    assert rates[0] < 0.01 and rates[-1] < 0.001
    assert rates.index(max(rates)) == 25


def test_events_are_json_lines(trained):
    for number, line in enumerate((trained.path / EVENTS).read_text().splitlines()):
        assert json.loads(line)["seq"] == number
