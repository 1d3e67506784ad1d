"""Rows of minima: what they hold, what is planned, and that the same command goes on."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from evidence import minima
from evidence.minima import CHECKPOINT, COLUMNS, ERRORS, FINAL, KEYS, Pictures, Plan, Weights
from evidence.shipped import read
from ngf.checkpoints.waypoints import Keeper
from ngf.checkpoints.weights import load_model
from ngf.config import Choice, TrainSpec
from ngf.runs.store import Store
from ngf.training.run import initial_model
from tests.helpers import cases, oracles

BENIGN, ATTACKED = TrainSpec(), TrainSpec(attack=Choice("badnets"))
SMALL = Plan(
    measurements={
        "hessian_spectrum": {"steps": 2, "vectors": 1, "probes": 2},
        "sharpness": {"steps": 2, "draws": 2},
        "input_curvature": {"num_images": 12, "steps": 2, "probes": 2},
        "batch_eigenvalue": {"num_images": 12, "batch": 6, "steps": 2},
    },
    until="function_sharpness",
)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Everything measured on a few images, into a folder of the test."""
    monkeypatch.setenv("NGF_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(minima, "NUM_IMAGES", 8)
    monkeypatch.setattr(minima, "MINIMA", tmp_path / "minima")
    for name, plan in (("FINAL", SMALL), ("CHECKPOINT", SMALL)):
        monkeypatch.setattr(minima, name, plan)
    on_triggered = Plan(measurements={"input_curvature": SMALL.measurements["input_curvature"]})
    monkeypatch.setattr(minima, "ON_TRIGGERED", on_triggered)
    return tmp_path


def test_every_column_is_named_once_and_every_error_is_one():
    assert len({*KEYS, *COLUMNS}) == len(KEYS) + len(COLUMNS)
    assert {*ERRORS, *ERRORS.values()} <= {*COLUMNS}
    assert all(name in minima.__doc__ for name in KEYS)


def test_rows_of_a_final_model(small):
    minima.make(ATTACKED.id)
    found = read(minima.file_of(ATTACKED.id))["rows"]
    assert [one["images"] for one in found] == [
        "train",
        "test",
        "triggered_true",
        "triggered_target",
    ]
    for one in found:
        assert tuple(one) == (*KEYS, *COLUMNS)
        assert (one["run"], one["attack"], one["kind"]) == (ATTACKED.id, "badnets", "final")
        assert one["n"] == 8 and one["loss"] > 0 and one["fisher_trace"] > 0
        assert one["input_n"] == 12
    train, test, true, target = found
    assert test["ca"] is not None and test["asr"] is None
    assert true["ra"] is not None and target["asr"] > 0.5 and true["loss"] > target["loss"]
    for one in (train, test):
        filled = {name for name in COLUMNS if one[name] is not None}
        assert {*COLUMNS} - filled == {"ra", "asr", "filter_lambda_max", "filter_lambda_max_error"}
    shared = [name for name in COLUMNS if name.startswith(("fisher_", "input_"))]
    assert [true[name] for name in shared] == [target[name] for name in shared]
    assert ATTACKED.id not in minima.missing()


def test_what_has_a_row_is_not_measured_again_and_checkpoints_follow(small, monkeypatch):
    model = initial_model(BENIGN)
    keep = Keeper(minima.on_the_way(BENIGN.id), model, BENIGN.training.epochs)
    minima.make(BENIGN.id)
    path = minima.file_of(BENIGN.id)
    before = read(path)["rows"]
    assert [(one["kind"], one["images"]) for one in before] == [
        ("final", "train"),
        ("final", "test"),
    ]
    assert minima.todo(BENIGN) == []
    with torch.no_grad():
        model.linear.weight.mul_(2)
    for epoch in (1, 6, 20):
        keep(epoch, model)
    # the first one is too early, the last one is the final model
    left = [("checkpoint", 6, "train"), ("checkpoint", 6, "test")]
    assert minima.todo(BENIGN) == left
    minima.make(BENIGN.id)
    rows = read(path)["rows"]
    assert rows[:2] == before
    assert [(one["kind"], one["step"], one["images"]) for one in rows[2:]] == left
    assert rows[2]["steps"] == 20 and rows[2]["ca"] < 0.5 < rows[0]["ca"]
    shutil.rmtree(minima.on_the_way(BENIGN.id))
    assert minima.todo(BENIGN) == []


def test_a_row_says_what_the_dense_matrices_say(monkeypatch):
    model, images, labels = cases.conv_net()
    monkeypatch.setattr(Pictures, "take", lambda self, kind, count: (images, labels))
    run = Store().get(BENIGN.id)
    plan = Plan(
        measurements={
            "hessian_spectrum": {"steps": 40, "vectors": 1, "probes": 10},
            "sharpness": {"steps": 30, "draws": 2},
            "input_curvature": {},
            "batch_eigenvalue": {"batch": 5},
        },
        fisher_draws=60,
    )
    state = {name: value.clone() for name, value in model.state_dict().items()}
    found = minima.row(
        Weights(run=run, step=20, steps=20), model, Pictures(Store(), BENIGN.id), "test", plan
    )
    json.dumps(found, allow_nan=False)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    loss, ca = oracles.loss_and_accuracy(model, model.state_dict(), images, labels)
    assert (found["loss"], found["ca"]) == pytest.approx((loss, ca))
    true = oracles.hessian_of("conv_net")
    assert found["lambda_max"] == pytest.approx(float(torch.linalg.eigvalsh(true)[-1]), rel=1e-6)
    trace = float(oracles.fisher_of("conv_net").trace())
    assert abs(found["fisher_trace"] - trace) <= 5 * found["fisher_trace_stderr"]
    # piecewise linear in the weights of each layer: the second part of the Hessian has no trace
    assert float(true.trace()) == pytest.approx(trace, rel=1e-9)
    assert abs(found["trace"] - trace) <= 5 * found["trace_stderr"]
    top = np.linalg.eigvalsh(oracles.input_hessians_of("conv_net").numpy())[:, -1]
    assert found["input_lambda_max_mean"] == pytest.approx(top.mean(), rel=1e-6)
    assert found["filter_lambda_max_error"] <= minima.CERTAIN * found["filter_lambda_max"]
    assert found["num_batches"] == 2


def test_plans_name_measurements_that_there_are():
    for plan in (FINAL, CHECKPOINT, minima.ON_TRIGGERED):
        for name, options in plan.measurements.items():
            minima.build("measurements", Choice(name, dict(options)))
        assert plan.until in ERRORS
    assert load_model(Store(), BENIGN.id).train_spec == BENIGN
