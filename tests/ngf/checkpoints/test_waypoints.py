"""Weights along a run: which steps are kept, that they are the weights, and that a reader may
follow them live.
"""

from __future__ import annotations

import copy
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ngf.checkpoints.waypoints import MAX_KEPT, Keeper, kept_steps, waypoint, waypoints
from ngf.checkpoints.weights import WeightsError
from ngf.runs.folder import steps_at
from tests.helpers import cases


@pytest.mark.parametrize("steps", [1, 2, 7, 16, 100, 5000])
def test_kept_steps_end_with_the_last_and_lie_denser_at_the_start(steps):
    found = sorted(kept_steps(steps))
    assert found[-1] == steps and found[0] >= 1 and len(found) <= MAX_KEPT
    gaps = [b - a for a, b in zip(found, found[1:], strict=False)]
    assert not gaps or gaps[-1] == max(gaps)


def walk(folder: Path, steps: int) -> list[dict[str, torch.Tensor]]:
    """A model whose last layer moves at every step; its states, the start first."""
    model, _, _ = cases.conv_net()
    keep = Keeper(folder, model, steps)
    states = [copy.deepcopy(model.state_dict())]
    for step in range(1, steps + 1):
        model.linear.weight.data += 0.1
        keep(step, model)
        states.append(copy.deepcopy(model.state_dict()))
    return states


def test_what_was_kept_is_what_was_there(tmp_path):
    states = walk(tmp_path / "path", 40)
    found = list(waypoints(tmp_path / "path", lambda: 40, states[0]))
    assert [at.step for at in found] == [0, *sorted(kept_steps(40))]
    for at in found:
        assert at.steps == 40 and at.state.keys() == states[0].keys()
        assert all(torch.equal(at.state[name], value) for name, value in states[at.step].items())


def test_only_what_moved_takes_space(tmp_path):
    walk(tmp_path / "path", 3)
    whole = sum(
        value.numel() * value.element_size() for value in cases.conv_net()[0].state_dict().values()
    )
    assert all(path.stat().st_size < whole / 2 for path in (tmp_path / "path").iterdir())


def test_a_large_model_keeps_fewer_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "ngf.checkpoints.waypoints.MAX_BYTES", 4 * 4 * 24 * 8
    )  # four times the last layer's weights
    walk(tmp_path / "path", 100)
    kept = steps_at(tmp_path / "path")
    assert 3 <= len(kept) <= 5 and kept[-1] == 100


def test_a_second_attempt_changes_nothing(tmp_path):
    walk(tmp_path / "path", 10)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "path").iterdir()}
    walk(tmp_path / "path", 10)
    assert before == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "path").iterdir()}


def test_a_reader_follows_a_run_that_goes_on(tmp_path):
    model, _, _ = cases.conv_net()
    start = copy.deepcopy(model.state_dict())
    keep, going = Keeper(tmp_path / "path", model, 4), threading.Event()
    going.set()
    reader = waypoints(tmp_path / "path", lambda: 4, start, going.is_set)
    assert next(reader).step == 0
    threading.Timer(0.3, lambda: keep(1, model)).start()
    assert next(reader).step == 1
    going.clear()  # the run was stopped
    assert list(reader) == []


def test_a_missing_tensor_is_that_of_the_start(tmp_path):
    states = walk(tmp_path / "path", 2)
    at = waypoint(tmp_path / "path", 1, 2, states[0])
    assert at.state["conv1.weight"] is states[0]["conv1.weight"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("nan", "the weights linear.weight are not finite numbers"),
        ("shape", "the model needs torch.float64"),
        ("name", "the model has no other.weight"),
        ("cut", "cannot be read as safetensors"),
    ],
)
def test_a_step_that_is_no_good_is_refused_with_its_file(tmp_path, damage, message):
    states = walk(tmp_path / "run" / "path" / "sgd", 2)
    path = tmp_path / "run" / "path" / "sgd" / "000001.safetensors"
    changed = load_file(path)
    if damage == "nan":
        changed["linear.weight"][0, 0] = torch.nan
    elif damage == "shape":
        changed["linear.weight"] = torch.zeros(1)
    elif damage == "name":
        changed["other.weight"] = torch.zeros(1)
    save_file(changed, path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(WeightsError, match=f"000001.safetensors.*{message}") as refused:
        waypoint(path.parent, 1, 2, states[0])
    assert "Delete run and start it again" in refused.value.advice


def test_what_may_be_kept_is_known_beforehand(tmp_path):
    """Whether a run was resumed, and how large its network is, must not matter."""
    model, _, _ = cases.conv_net()
    keep = Keeper(tmp_path / "path", model, 40)
    before = [step for step in range(41) if keep.may_keep(step, 40)]
    model.linear.weight.data += 1
    keep.wanted &= {1}
    keep(1, model)
    assert before == sorted(kept_steps(40))
    assert [step for step in range(41) if keep.may_keep(step, 40)] == before
    assert keep.may_keep(17, 17), "the last one, where fewer are made than were planned"
