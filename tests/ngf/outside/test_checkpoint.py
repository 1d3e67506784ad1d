"""Strangers' checkpoints through the real child, and weights written back as they came."""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
import zipfile

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save

from ngf.outside.checkpoint import (
    Ask,
    Form,
    Limits,
    NotOpened,
    open_checkpoint,
    write_like,
)
from tests.helpers.checkpoint_files import form, network, old, saved, seen, state, tensors


def nested(made, path):
    for key in path:
        made = made[key]
    return made


def half(dtype):
    return {k: v.to(dtype) if v.is_floating_point() else v for k, v in state().items()}


ROUND = {
    "plain": lambda: state(),
    "module": lambda: {f"module.{k}": v for k, v in state().items()},
    "half": lambda: half(torch.float16),
    "bfloat16": lambda: half(torch.bfloat16),
    "double": lambda: half(torch.float64),
    "wrapped": lambda: {
        "epoch": 1,
        "state_dict": {f"_orig_mod.{k}": v for k, v in state().items()},
    },
    "twice": lambda: {"checkpoint": {"model": state()}},
    "backdoorbench": lambda: {"model_name": "x", "num_classes": 10, "model": state()},
    "lightning": lambda: {"state_dict": {f"model.{k}": v for k, v in state().items()}},
    "resnet18": lambda: torchvision.models.resnet18().state_dict(),
    "mobilenet_v2": lambda: torchvision.models.mobilenet_v2().state_dict(),
    "densenet121": lambda: torchvision.models.densenet121().state_dict(),
}


@pytest.mark.parametrize("save_as", [saved, old], ids=["zip", "legacy"])
@pytest.mark.parametrize("case", ROUND)
def test_written_back_as_it_came(case, save_as, tmp_path):
    given = ROUND[case]()
    found = seen(save_as(given))
    how = Form.from_json(json.loads(json.dumps(form(found).to_json())))
    write_like(how, tensors(found), tmp_path / "back.pt")
    back = torch.load(tmp_path / "back.pt", weights_only=True)
    first, second = nested(given, how.path), nested(back, how.path)
    assert list(first) == list(second)
    for name, value in first.items():
        assert second[name].dtype == value.dtype and torch.equal(second[name], value)
    assert os.listdir(tmp_path) == ["back.pt"]


def test_safetensors_written_back(tmp_path):
    found = seen(save(half(torch.float16)))
    write_like(form(found), tensors(found), tmp_path / "back.safetensors")
    back = load_file(tmp_path / "back.safetensors")
    for name, value in half(torch.float16).items():
        assert back[name].dtype == value.dtype and torch.equal(back[name], value)


def test_other_names_and_values_too_large_are_not_written(tmp_path):
    found = seen(saved(half(torch.float16)))
    weights = tensors(found)
    with pytest.raises(ValueError, match="lacks conv.bias"):
        write_like(
            form(found), {k: v for k, v in weights.items() if k != "conv.bias"}, tmp_path / "a"
        )
    with pytest.raises(ValueError, match="conv.bias are too large for float16"):
        write_like(form(found), weights | {"conv.bias": torch.full((4,), 1e6)}, tmp_path / "a")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("given", [{}, {"container": "zip"}, {"path": 5}])
def test_no_form(given):
    with pytest.raises(ValueError, match="no form"):
        Form.from_json({"container": "pt", "path": [], "prefix": "", "dtypes": 1} | given)


@pytest.fixture
def private(tmp_path, monkeypatch):
    """The folder of temporary folders, which must be empty afterwards."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield place
    assert not os.listdir(place)


def test_through_the_child(tmp_path, private):
    path = tmp_path / "wrong.jpg"
    path.write_bytes(saved({"model": state(), "model_ema": state(), "classes": ["a", "b"]}))
    with pytest.raises(Ask) as caught:
        open_checkpoint(path)
    assert caught.value.options == ("model", "model_ema")
    opened = open_checkpoint(path, pick="model")
    network().load_state_dict(opened.tensors, strict=True)
    assert all(torch.equal(opened.tensors[name], value) for name, value in state().items())
    assert opened.form.path == ("model",) and opened.extra == {"classes": ["a", "b"]}
    assert len(opened.sha256) == 64


class Runs:
    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def test_code_does_not_run_in_the_child(tmp_path, private):
    path = tmp_path / "a.pt"
    path.write_bytes(saved({"model": state(), "x": Runs(tmp_path / "ran")}))
    with pytest.raises(NotOpened, match="would run"):
        open_checkpoint(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits these")
def test_limits_of_the_child(tmp_path, private):
    path = tmp_path / "a.pt"
    path.write_bytes(saved({"a.weight": torch.zeros(30_000_000, dtype=torch.int8)}))
    with pytest.raises(NotOpened, match="of memory"):
        open_checkpoint(path, limits=Limits(memory_bytes=10_000_000))
    with pytest.raises(NotOpened, match="longer than 0.2 s"):
        open_checkpoint(path, limits=Limits(wall_seconds=0.2))
    with zipfile.ZipFile(path, "w") as archive:  # a structure that takes many seconds to read
        archive.writestr("a/data.pkl", b"\x80\x02" + b"]0" * 12_000_000 + b"}.")
    with pytest.raises(NotOpened, match="processor time"):
        open_checkpoint(path, limits=Limits(cpu_seconds=1))


def test_a_bomb_through_the_child(tmp_path, private):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\0" * 50_000_000)
    (tmp_path / "a.pt").write_bytes(file.getvalue())
    with pytest.raises(NotOpened, match="compressed"):
        open_checkpoint(tmp_path / "a.pt")


def test_only_regular_files_of_a_size(tmp_path, private):
    good = tmp_path / "a.pt"
    good.write_bytes(saved(state()))
    (tmp_path / "link").symlink_to(good)
    os.mkfifo(tmp_path / "pipe")
    with open(tmp_path / "large", "wb") as file:
        file.truncate(5 * 10**9)
    words = {"link": "a link", "pipe": "a pipe", "large": "5,000.0 MB", "none": "not found"}
    for name, word in words.items():
        with pytest.raises(NotOpened, match=word):
            open_checkpoint(tmp_path / name)
    for folder in (tmp_path, "/dev/zero"):
        with pytest.raises(NotOpened, match="not a file"):
            open_checkpoint(folder)
