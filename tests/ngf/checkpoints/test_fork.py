"""A purification that branches off another one."""

from dataclasses import replace

import pytest
import torch

from ngf.checkpoints.fork import model_at_start
from ngf.checkpoints.waypoints import Waypoint, waypoint
from ngf.checkpoints.weights import WeightsError, load_model
from ngf.config import Choice, Fork, PurifySpec
from ngf.options import SpecError
from ngf.runs.child import execute
from ngf.runs.folder import steps_at, waypoints
from ngf.runs.store import PurifyRun, Store
from ngf.runs.submit import checked, submit

SMALL = {"steps": 4, "batch_size": 32, "lr": 0.05}


@pytest.fixture(scope="module")
def store(store_of_trained) -> Store:
    return store_of_trained


@pytest.fixture(scope="module")
def source(store, trained) -> PurifyRun:
    spec = PurifySpec(parent=trained.id, num_clean=60, lanes=(Choice("sgd", SMALL),))
    run = submit(spec, store)
    assert execute(run) == "done", run.error
    return run


def fork_of(source: PurifyRun, step: int, **changes) -> PurifySpec:
    return replace(source.spec, start=f"{source.id}:sgd@{step}", **changes)


def rates(run: PurifyRun, step: int) -> tuple[float, ...]:
    event = next(e for e in run.events() if e["type"] == "step" and e["step"] == step)
    return tuple(event[name] for name in ("ca", "asr", "ra"))


def kept(source: PurifyRun, step: int, start) -> Waypoint:
    return waypoint(source.path / waypoints("sgd"), step, 4, start.state_dict())


def test_it_starts_from_the_weights_of_that_step_to_the_last_bit(store, source, trained):
    start = load_model(store, trained.id).model
    there = kept(source, 2, start).state
    model = model_at_start(store, fork_of(source, 2))
    assert model.state_dict().keys() == there.keys()
    assert all(torch.equal(value, there[name]) for name, value in model.state_dict().items())
    assert any(not torch.equal(value, start.state_dict()[name]) for name, value in there.items())


def test_up_to_the_fork_both_are_one_race(store, source):
    """Its step 0 is the source's step, measured on the same images; then it goes its own way."""
    other = {**SMALL, "lr": 0.3}
    fork = submit(fork_of(source, 4, lanes=(Choice("sgd", other),)), store)
    assert execute(fork) == "done", fork.error
    assert rates(fork, 0) == rates(source, 4)
    assert fork.result["before"] == source.result["lanes"]["sgd"]["after"]
    assert fork.training().id == source.spec.parent
    assert fork.ancestor().id == source.id
    further = submit(replace(fork.spec, start=f"{fork.id}:sgd@1"), store)
    again = model_at_start(store, further.spec).state_dict()
    there = kept(fork, 1, model_at_start(store, fork.spec)).state
    assert all(torch.equal(again[name], there[name]) for name in there)


def test_its_name_says_where_and_that_of_others_stays(source):
    fork = fork_of(source, 2)
    assert "-fork-" in fork.id and fork.id != fork_of(source, 3).id
    assert fork.to_json()["start"] == f"{source.id}:sgd@2"
    assert "start" not in source.spec.to_json()
    assert PurifySpec.from_json(fork.to_json()) == fork
    assert fork.fork() == Fork(source.id, "sgd", 2) and source.spec.fork() is None


@pytest.mark.parametrize("text", ["run", "run:sgd", "run:sgd@", "run:sgd@0", "run@3", "a:b:c@3"])
def test_a_text_that_names_no_step_is_refused(source, text):
    with pytest.raises(SpecError, match="RUN:LANE@STEP"):
        PurifySpec.from_json({**source.spec.to_json(), "start": text})


def test_a_step_that_was_not_kept_gets_the_nearest(store, source):
    (source.path / waypoints("sgd") / "000003.safetensors").rename(source.path / "away")
    try:
        assert steps_at(source.path / waypoints("sgd")) == [1, 2, 4]
        with pytest.raises(SpecError, match=r"The nearest step that can be forked is 2: .*:sgd@2"):
            checked(fork_of(source, 3), store)
    finally:
        (source.path / "away").rename(source.path / waypoints("sgd") / "000003.safetensors")


def test_what_cannot_be_forked_says_why(store, source):
    with pytest.raises(SpecError, match="has no lane 'ngf'"):
        checked(replace(source.spec, start=f"{source.id}:ngf@2"), store)
    with pytest.raises(SpecError, match="is no purification of"):
        checked(replace(source.spec, start=f"{source.spec.parent}:sgd@2"), store)
    with pytest.raises(WeightsError):
        model_at_start(store, fork_of(source, 7))
