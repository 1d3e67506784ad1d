"""A training from its specification to its result."""

import json

import pytest
import torch
from safetensors.torch import load_file

from ngf.attacks.trojan import Trojan
from ngf.config import Choice, MeasureSpec, PurifySpec, Training, TrainSpec
from ngf.finite import Diverged
from ngf.runs.child import execute
from ngf.runs.folder import ERROR, EVENTS, PREVIEW, WEIGHTS
from ngf.runs.store import Store, TrainRun
from ngf.training.loop import Trainer
from ngf.training.run import check_trigger


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


@pytest.fixture(scope="module")
def weak(tmp_path_factory) -> TrainRun:
    """A real training that learned almost nothing."""
    training = Training(num_images=64, epochs=1, batch_size=64)
    root = tmp_path_factory.mktemp("weak")
    run = Store(root, root / "zoo").submit(TrainSpec(attack=Choice("badnets"), training=training))
    assert execute(run) == "done", run.error
    return run


def test_a_weak_model_is_a_model_that_says_so(weak):
    said = weak.result["weak"]
    assert {item["gate"] for item in said["missed"]} <= {"min_ca", "min_asr"}
    missed = next(item for item in said["missed"] if item["gate"] == "min_ca")
    assert missed["value"] == weak.result["ca"] < missed["wanted"] == 0.8
    assert f"Clean accuracy is {weak.result['ca']:.1%} on 2,400 test images" in said["reason"]
    assert weak.error is None and (weak.path / WEIGHTS).exists() and (weak.path / PREVIEW).exists()
    assert weak.weak == weak.summary()["weak"] == said["reason"]


def test_a_weak_model_is_purified_and_measured_and_both_say_so(weak):
    lane = Choice("sgd", {"steps": 2, "lr": 0.01})
    race = weak.store.submit(PurifySpec(parent=weak.id, lanes=(lane,), num_clean=20))
    assert execute(race) == "done", race.error
    measurement = Choice("fisher_trace", {"num_images": 8, "draws": 2})
    for target in (weak.id, f"{race.id}:sgd"):
        found = weak.store.submit(MeasureSpec(target=target, measurement=measurement))
        assert execute(found) == "done", found.error
        assert found.summary()["weak"] == weak.weak
    assert race.summary()["weak"] == weak.weak
    assert "weak" not in race.result, "what a lane left is judged by its own numbers"


def test_a_strong_model_says_nothing_and_an_old_failure_stays_one(trained, store):
    assert "weak" not in trained.result and trained.summary()["weak"] is None
    run = store.submit(TrainSpec(seed=5))
    old = {"kind": "sanity_gate", "message": "Clean accuracy is 9.0%", "advice": "Train longer."}
    (run.path / ERROR).write_text(json.dumps(old))
    assert run.status == "failed" and run.error == old and run.summary()["weak"] is None


def test_a_trigger_that_learned_nothing_makes_the_model_weak(store):
    options = {"density": 0.0, "norm_weight": 1e4, "mask_epochs": 60, "lr": 0.1}  # an empty mask
    training = Training(num_images=64, epochs=1, batch_size=64, min_ca=0.0, min_asr=0.0)
    run = store.submit(TrainSpec(attack=Choice("input_aware", options), training=training))
    assert execute(run) == "done", run.error
    (missed,) = run.result["weak"]["missed"]
    assert missed["gate"] == "trigger" and missed["value"] < missed["wanted"]
    assert (
        "changes 0 of 3,072 values in 8 bits" in run.weak
        and "Raise density, or lower norm_weight." in run.weak
    )


def test_a_training_that_diverges_ends_with_its_epoch_and_keeps_no_model(tmp_path):
    training = Training(num_images=300, epochs=3, batch_size=32, min_ca=0.0, min_asr=0.0)
    spec = TrainSpec(model="vgg_tiny", attack=Choice("badnets"), training=training)
    run = Store(tmp_path).submit(spec)
    original = Trainer.__iter__

    def overflowing(self):
        """As a loss would that is finite once more: only the weights tell."""
        for epoch in original(self):
            if epoch.epoch == 2:
                self.model.linear.weight.data.fill_(3e38)
            yield epoch

    Trainer.__iter__ = overflowing
    try:
        assert execute(run) == "failed"
    finally:
        Trainer.__iter__ = original
    assert run.error["kind"] == "diverged"
    assert run.error["message"] == "The outputs of the model are not finite numbers at epoch 2."
    assert [event["step"] for event in run.events() if event["type"] == "epoch"] == [1]
    assert not (run.path / WEIGHTS).exists()


@pytest.mark.parametrize("patch", [torch.full((3, 8, 8), torch.nan), torch.zeros(8)])
def test_a_trigger_that_was_learned_is_checked_before_it_is_kept(patch):
    learned = Trojan().with_trigger({"patch": torch.rand(3, 8, 8)})
    check_trigger(learned, (3, 32, 32), 4)
    with pytest.raises(Diverged, match=r"trigger that was learned cannot be used.* at epoch 4\."):
        check_trigger(learned.with_trigger({"patch": patch}), (3, 32, 32), 4)
