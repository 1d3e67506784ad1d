"""Weights on disk: what does not fit the model is refused with the reason."""

import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from ngf.checkpoints.weights import WeightsError, load_model
from ngf.runs.folder import SPEC, WEIGHTS
from ngf.runs.store import Store


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
    with pytest.raises(WeightsError, match=message):
        load_model(Store(tmp_path), trained.id)
