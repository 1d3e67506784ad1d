"""Rows along a purification: which steps, whose weights, and what is there already."""

from __future__ import annotations

import math
from types import SimpleNamespace
from unittest.mock import ANY

import pytest
import torch

from evidence import minima, minima_purified
from evidence.minima import Pictures, Plan
from evidence.minima_purified import METHODS, POINTS, chosen_steps, purified_rows
from evidence.shipped import write
from ngf.catalogue import build
from ngf.checkpoints.waypoints import Keeper
from ngf.checkpoints.weights import load_model
from ngf.config import Choice, TrainSpec
from ngf.models.bounds import add_bounds
from ngf.options import SpecError
from ngf.runs.folder import waypoints
from ngf.runs.store import Store

MODEL = TrainSpec(attack=Choice("badnets")).id


def test_a_few_kept_steps_are_chosen_evenly_and_the_last_always():
    assert chosen_steps([1, 4, 9]) == [1, 4, 9]
    assert chosen_steps(list(range(1, 17))) == [3, 6, 10, 13, 16]
    assert all(len(chosen_steps(list(range(n)))) == min(n, POINTS) for n in range(1, 40))


def test_rows_go_from_the_model_before_to_the_last_step(monkeypatch, tmp_path):
    monkeypatch.setattr(minima, "NUM_IMAGES", 8)
    for name in ("CHECKPOINT", "ON_THE_WAY"):
        monkeypatch.setattr(minima_purified, name, Plan(measurements={}, fisher_draws=1))
    store = Store()
    origin, model = store.get(MODEL), load_model(store, MODEL).model
    spec = SimpleNamespace(seed=0, lane_names=lambda: ("sgd",))
    run = SimpleNamespace(id="run", path=tmp_path, spec=spec)
    pictures = Pictures(store, MODEL)
    with pytest.raises(SpecError, match="has kept no weights"):
        list(purified_rows(store, origin, run, "sgd", "sgd", pictures))
    keep = Keeper(tmp_path / waypoints("sgd"), model, 4)
    with torch.no_grad():
        model.linear.weight.mul_(0.5)
    keep(4, model)
    rows = list(purified_rows(store, origin, run, "sgd", "sgd", pictures))
    assert [(one["step"], one["images"]) for one in rows] == [
        (step, images)
        for step in (0, 4)
        for images in ("train", "test", "triggered_true", "triggered_target")
    ]
    assert {(one["kind"], one["method"], one["purification_seed"]) for one in rows} == {
        ("purified", "sgd", 0)
    }
    before, after = rows[1], rows[5]
    assert before["ca"] == after["ca"] and before["loss"] < after["loss"]  # halved logits
    assert rows[3]["asr"] > 0.5 and rows[3]["fisher_trace"] is None
    run.spec.seed = 3
    assert list(purified_rows(store, origin, run, "sgd", "sgd", pictures)) == [
        {**row, "purification_seed": 3, "seconds": ANY} for row in rows[4:]
    ]


def test_bounds_that_a_purification_has_added_count(monkeypatch, tmp_path):
    monkeypatch.setattr(minima, "NUM_IMAGES", 8)
    for name in ("CHECKPOINT", "ON_THE_WAY"):
        monkeypatch.setattr(minima_purified, name, Plan(measurements={}, fisher_draws=1))
    store = Store()
    origin, model = store.get(MODEL), load_model(store, MODEL).model
    run = SimpleNamespace(
        id="run", path=tmp_path, spec=SimpleNamespace(seed=0, lane_names=lambda: ("unit",))
    )
    keep = Keeper(tmp_path / waypoints("unit"), model, 1)
    add_bounds(model, {"linear": torch.full((12,), -1000.0)})  # all logits are clipped there
    keep(1, model)
    rows = list(purified_rows(store, origin, run, "unit", "unit", Pictures(store, MODEL)))
    assert [one["step"] for one in rows[::4]] == [0, 1]
    assert rows[4]["loss"] == pytest.approx(math.log(12))
    assert rows[0]["loss"] < 0.5, "the model as it came has none"


def test_what_is_there_is_left_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(minima_purified, "MINIMA_PURIFIED", tmp_path)
    assert MODEL in minima_purified.missing()
    keys = [(seed, method) for seed in (0, 1, 2, 3, 4) for method in METHODS]
    assert minima_purified.todo(MODEL) == keys
    rows = [{"purification_seed": seed, "method": method} for seed, method in keys[:-1]]
    write(minima_purified.file_of(MODEL), {"rows": rows})
    assert minima_purified.todo(MODEL) == [(4, "adam")]
    for choice in METHODS.values():
        build("defenses", choice)
