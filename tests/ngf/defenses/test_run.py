"""A purification from its specification to its result."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import ngf.defenses.run
from ngf.checkpoints.weights import WeightsError, load_model
from ngf.config import Choice, MeasureSpec, PurifySpec
from ngf.options import SpecError
from ngf.places import ROOT
from ngf.runs.child import execute
from ngf.runs.folder import ERROR, EVENTS, RESULT, TRIGGER, WEIGHTS, purified_weights
from ngf.runs.recorder import Recorder, checkpoints
from ngf.runs.store import PurifyRun, Run, Store
from ngf.runs.submit import submit


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
    assert not {"after", "der"} & result.keys(), "no lane stands for a race"
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
    for lane, about in run.result["lanes"].items():
        assert about["after"] == whole.result["lanes"][lane]["after"]


# The weights leave the range of numbers in the second step.
WILD = Choice("sgd", {"steps": 6, "batch_size": 32, "lr": 100.0, "batch_norm": "eval"})


def tame(steps: int) -> Choice:
    return Choice("ngf", {"steps": steps, "batch_size": 32, "layer": "stage2.block1.conv2"})


def wild_race(parent: str, *lanes: Choice) -> PurifySpec:
    return PurifySpec(parent=parent, num_clean=60, lanes=lanes)


@pytest.fixture(scope="module")
def diverged(store: Store, trained: Run) -> PurifyRun:
    """A finished race whose first lane diverged."""
    run = store.submit(wild_race(trained.id, WILD, tame(4)))
    assert execute(run) == "done", run.error
    return run


def of_lane(run: Run, lane: str, kind: str) -> list[dict]:
    return [e for e in run.events() if e["type"] == kind and e.get("lane") == lane]


def test_a_lane_that_diverges_ends_alone_at_its_step(diverged):
    lanes = diverged.result["lanes"]
    (event,) = of_lane(diverged, "sgd", "diverged")
    assert event["step"] == 2 and "at step 2" in event["message"]
    assert [e["step"] for e in of_lane(diverged, "sgd", "step")] == [0, 1]
    about = lanes["sgd"]
    assert about["diverged"]["step"] == 2 and "learning rate" in about["diverged"]["advice"]
    assert about["layer"] == "all" and about["lr"] == 100.0
    assert not {"after", "der"} & about.keys()
    assert [e["step"] for e in of_lane(diverged, "ngf", "step")] == [0, 1, 2, 3, 4]
    assert 0 <= lanes["ngf"]["after"]["ca"] <= 1 and "diverged" not in lanes["ngf"]
    assert diverged.summary()["ca"] is None
    left = {path.name for path in diverged.path.glob("purified.*")}
    assert left == {purified_weights("ngf")}
    for path in diverged.path.glob("path/*/*.safetensors"):
        assert all(bool(value.isfinite().all()) for value in load_file(path).values())
    assert diverged.diverged() == {"sgd": 2} and diverged.sound_lanes() == ["ngf"]


def test_a_lane_that_diverged_cannot_be_measured_and_says_so(diverged, store):
    target, other = f"{diverged.id}:sgd", f"{diverged.id}:ngf"
    with pytest.raises(WeightsError, match="diverged at step 2") as refused:
        load_model(store, target)
    assert other in refused.value.advice and load_model(store, other).lane == "ngf"
    for name in ("fisher_trace", "along_run"):
        spec = MeasureSpec(target=target, measurement=Choice(name))
        with pytest.raises(SpecError, match=f"diverged at step 2.* Allowed: {other}"):
            submit(spec, store)
        run = store.submit(spec)  # as one that was asked for while the race went on
        assert execute(run) == "failed"
        assert run.error["kind"] == "bad_checkpoint" and "at step 2" in run.error["message"]


def test_a_race_of_which_nothing_is_left_fails_with_the_steps(store, trained):
    other = Choice("adam", {"steps": 6, "batch_size": 32, "lr": 10.0, "epsilon": 1e-12})
    alone = store.submit(wild_race(trained.id, WILD))
    assert execute(alone) == "failed"
    assert alone.error["kind"] == "diverged" and alone.error["step"] == 2
    assert "at step 2" in alone.error["message"]
    assert not (alone.path / purified_weights("sgd")).exists()
    both = store.submit(wild_race(trained.id, WILD, other))
    broken = Recorder.emit

    def poisoned(self, type, **values):
        """The second lane's model breaks too, as a fault of a plug-in would have it."""
        broken(self, type, **values)
        if type == "step" and values["lane"] == "adam" and values["step"] == 3:
            raise ngf.defenses.race.Diverged("The loss is no longer a number", 3)

    Recorder.emit = poisoned
    try:
        assert execute(both) == "failed"
    finally:
        Recorder.emit = broken
    assert both.error["kind"] == "diverged"
    assert both.error["message"] == "Every lane diverged: sgd at step 2, adam at step 3."


@pytest.mark.parametrize(("lr", "message"), [(100.0, "length of a step"), (10.0, "outputs of the")])
def test_a_last_step_that_leaves_no_numbers_is_not_measured(store, trained, lr, message):
    """Two steps: no third one sees that the second went too far. At the smaller rate the weights
    are finite, and what the model makes of them is not.
    """
    options = {**WILD.options, "steps": 2, "lr": lr}
    run = store.submit(wild_race(trained.id, Choice("sgd", options)))
    assert execute(run) == "failed"
    assert run.error["kind"] == "diverged" and run.error["step"] == 2
    assert message in run.error["message"] and "at step 2" in run.error["message"]
    assert not (run.path / RESULT).exists()


# A process that purifies, and is killed as soon as a checkpoint holds some steps after the end of
# the lane that diverges.
KILLED = """
import os, signal, sys
from pathlib import Path
from ngf.defenses import race, run
from ngf.runs.recorder import Recorder
race._CHECKPOINT_SECONDS, save = 0.0, Recorder.save_state
def then_killed(self, write):
    save(self, write)
    if self.last_step("ngf") >= 4:
        os.kill(os.getpid(), signal.SIGKILL)
Recorder.save_state = then_killed
run.run(Path(sys.argv[1]))
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9 and signals are those of POSIX")
def test_a_lane_that_diverged_stays_ended_after_a_kill(store, trained, tmp_path):
    spec = wild_race(trained.id, WILD, tame(8))
    whole = store.submit(spec)
    assert execute(whole) == "done", whole.error
    folder = tmp_path / "again"
    folder.mkdir()
    shutil.copytree(trained.path, folder / trained.id)
    run = Store(folder, tmp_path / "zoo").submit(spec)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(run.path)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    (kept,) = checkpoints(run.path)
    assert "diverged" in torch.load(kept / "lanes.pt", weights_only=True)["sgd"]
    assert len(of_lane(run, "ngf", "step")) == 5
    ngf.defenses.run.run(run.path)
    assert [e["step"] for e in of_lane(run, "ngf", "step")] == list(range(9))
    for kind in ("step", "diverged", "chosen"):
        stamps = ("seq", "t", "ca", "asr", "ra")
        both = [
            [{k: v for k, v in e.items() if k not in stamps} for e in of_lane(one, "sgd", kind)]
            for one in (whole, run)
        ]
        assert both[0] == both[1] and both[0]
    name = purified_weights("ngf")
    first, second = load_file(whole.path / name), load_file(run.path / name)
    assert all(torch.equal(first[key], second[key]) for key in first)
    timeless = [
        {lane: {k: v for k, v in about.items() if k != "seconds"} for lane, about in r.items()}
        for r in (whole.result["lanes"], run.result["lanes"])
    ]
    assert timeless[0] == timeless[1]


@pytest.mark.parametrize("damage", ["nan", "outputs"])
def test_a_model_that_is_not_made_of_numbers_is_refused_before_the_first_step(
    trained, tmp_path, damage
):
    store = copied(trained, tmp_path)
    path = store.root / trained.id / WEIGHTS
    weights = load_file(path)
    weights["linear.weight"][0] = float("nan") if damage == "nan" else 3e38
    save_file(weights, path)
    run = store.submit(race(trained.id))
    assert execute(run) == "failed"
    assert run.error["kind"] == "bad_checkpoint"
    assert "are not finite numbers" in run.error["message"]
    assert not of_lane(run, "ngf", "step")
    measured = store.submit(MeasureSpec(target=trained.id, measurement=Choice("fisher_trace")))
    assert execute(measured) == "failed"
    assert measured.error["kind"] == "bad_checkpoint", measured.error
    assert "are not finite numbers" in measured.error["message"]


def copied(trained: Run, root: Path) -> Store:
    """A store whose model may be damaged."""
    folder = root / trained.id
    folder.mkdir()
    for file in trained.path.iterdir():
        if file.is_file() and file.name not in (ERROR, EVENTS, TRIGGER):
            (folder / file.name).write_bytes(file.read_bytes())
    return Store(root, root / "zoo")
