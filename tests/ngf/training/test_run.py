"""A training from its specification to its result."""

import json

import torch
from safetensors.torch import load_file

from ngf.config import Training, TrainSpec
from ngf.runs.child import execute
from ngf.runs.folder import EVENTS, PREVIEW, WEIGHTS
from ngf.runs.store import Store


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


def test_events_are_json_lines(trained):
    for number, line in enumerate((trained.path / EVENTS).read_text().splitlines()):
        assert json.loads(line)["seq"] == number


def test_one_spec_in_two_stores_gives_the_same_numbers(trained, tmp_path):
    other = Store(tmp_path).submit(trained.spec)
    assert other.id == trained.id
    execute(other)
    for name in ("ca", "asr", "ra"):
        assert other.result[name] == trained.result[name]
    first, second = (load_file(run.path / WEIGHTS) for run in (trained, other))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_weak_model_is_refused_with_numbers(tmp_path):
    spec = TrainSpec(training=Training(num_images=64, epochs=1, batch_size=64))
    run = Store(tmp_path).submit(spec)
    assert execute(run) == "failed"
    assert run.error["kind"] == "sanity_gate"
    assert "Clean accuracy is" in run.error["message"]
    assert "2,400 test images" in run.error["message"]
    assert [event["type"] for event in run.events()].count("epoch") == 1
