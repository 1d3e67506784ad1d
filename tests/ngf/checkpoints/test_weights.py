"""Weights on disk: what does not fit the model is refused with the reason."""

import math
import re

import pytest
import torch
from safetensors.torch import load_file, save_file

from ngf.attacks.clb import CLB
from ngf.checkpoints.weights import (
    WeightsError,
    load_model,
    save_weights,
    training_of,
    trigger_fault,
)
from ngf.config import Choice, PurifySpec
from ngf.finite import Diverged
from ngf.runs.folder import ERROR, RESULT, SPEC, WEIGHTS
from ngf.runs.store import NoSuchRun, Store


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("cut", "cannot be read as safetensors"),
        ("nan", "not finite"),
        ("shape", "the model needs"),
        ("names", "it lacks"),
    ],
)
def test_bad_checkpoints_are_refused_with_the_reason(trained, tmp_path, damage, message):
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
    with pytest.raises(WeightsError, match=message) as refused:
        load_model(Store(tmp_path), trained.id)
    assert f"Delete {trained.id}" in refused.value.advice


def test_the_advice_on_weights_that_ship_is_not_to_delete_them(trained, tmp_path):
    zoo, root = tmp_path / "zoo", tmp_path / "runs"
    (zoo / trained.id).mkdir(parents=True)
    (zoo / trained.id / SPEC).write_bytes((trained.path / SPEC).read_bytes())
    (zoo / trained.id / WEIGHTS).write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="cannot be read as safetensors") as refused:
        load_model(Store(root, zoo), trained.id)
    assert "ships with the program" in refused.value.advice


@pytest.mark.parametrize(
    ("state", "message", "advice"),
    [
        ("queued", "has no weights yet", "end first"),
        (ERROR, "has failed and has left no weights", "put right"),
        (RESULT, "weights of .* are gone", "Delete"),
    ],
)
def test_why_there_are_no_weights_and_what_to_do(trained, tmp_path, state, message, advice):
    folder = tmp_path / trained.id
    folder.mkdir()
    (folder / SPEC).write_bytes((trained.path / SPEC).read_bytes())
    if state != "queued":
        (folder / state).write_text("{}")
    with pytest.raises(WeightsError, match=message) as refused:
        load_model(Store(tmp_path), trained.id)
    assert advice in refused.value.advice


def test_weights_that_are_not_finite_are_never_written(tmp_path):
    model = torch.nn.Linear(3, 2)
    model.weight.data[1, 1] = math.nan
    with pytest.raises(Diverged, match="The weights weight are not finite numbers"):
        save_weights(model, tmp_path / WEIGHTS)
    assert not list(tmp_path.iterdir())


def test_a_model_whose_beginning_was_deleted_says_which(trained, tmp_path):
    (tmp_path / trained.id).symlink_to(trained.path)
    store = Store(tmp_path, tmp_path / "zoo")
    run = store.submit(PurifySpec(parent=trained.id, lanes=(Choice("sgd"),)))
    assert training_of(store, run.id).id == trained.id
    (tmp_path / trained.id).unlink()
    with pytest.raises(NoSuchRun, match=f"{run.id} starts from {trained.id}, which was deleted"):
        training_of(store, run.id)


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        ({"images": (5, 3, 32, 32), "index": 5}, None),
        ({"images": (5, 3, 16, 16), "index": 5}, "images of|does not fit images of"),
        ({"images": (0, 3, 32, 32), "index": 0}, "does not fit images of"),
        ({"pictures": (5, 3, 32, 32), "index": 5}, "does not fit images of"),
    ],
)
def test_what_was_made_for_training_images_fits_them(held, reason):
    tensors = {
        name: torch.arange(size) if isinstance(size, int) else torch.zeros(size, dtype=torch.uint8)
        for name, size in held.items()
    }
    found = trigger_fault(CLB().with_trigger(tensors), (3, 32, 32))
    assert found is None if reason is None else re.search(reason, found)
