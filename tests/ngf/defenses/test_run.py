"""A purification from its specification to its result."""

import shutil

import pytest
import torch
from safetensors.torch import load_file

import ngf.defenses.run
from ngf.checkpoints.weights import load_model
from ngf.config import Choice, PurifySpec
from ngf.runs.child import execute
from ngf.runs.recorder import Recorder
from ngf.runs.store import Store


@pytest.fixture(scope="module")
def store(store_of_trained) -> Store:
    return store_of_trained


def race(parent: str, steps: int = 4) -> PurifySpec:
    small = {"steps": steps, "batch_size": 32}
    return PurifySpec(
        parent=parent,
        num_clean=60,
        lanes=(Choice("ngf", {**small, "layer": "stage2.block1.conv2"}), Choice("sgd", small)),
    )


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
    shutil.copytree(trained.path, folder / trained.id)
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
