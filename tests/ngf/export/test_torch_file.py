"""A .pt written without torch is read by torch as the tensors of the safetensors."""

from __future__ import annotations

import io
import zipfile

import pytest
import torch
from safetensors.torch import load, load_file, save

from ngf import models, places
from ngf.export.torch_file import read_safetensors, state_dict
from ngf.options import SpecError

ODD = {
    "scalar": torch.tensor(3, dtype=torch.int64),
    "empty": torch.zeros(0, 4),
    "wide": torch.randn(2, 3, 4, dtype=torch.float64),
    "half": torch.randn(300).half(),
    "brain": torch.randn(3, 5).bfloat16(),
    "flags": torch.tensor([True, False, True]),
    "bytes": torch.arange(7, dtype=torch.uint8),
    "ein Name mit ä": torch.randn(1, 1, 257),
}


def same(found, wanted):
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype and found[name].shape == value.shape, name
        assert torch.equal(found[name], value), name
        assert found[name].is_contiguous()


@pytest.mark.parametrize(
    "path",
    [
        sorted(places.ZOO.glob("signs-badnets-s0*/model.safetensors"))[0],
        sorted(places.RECORDINGS.glob("*/purified.ngf.safetensors"))[0],
    ],
    ids=lambda path: path.parent.name,
)
def test_weights_of_a_run_are_the_same_tensor_by_tensor(path, tmp_path):
    made = tmp_path / "model.pt"
    made.write_bytes(state_dict(path.read_bytes()))
    found = torch.load(made, weights_only=True)
    wanted = load_file(path)
    assert {name: found[name].dtype for name in found} == {
        name: wanted[name].dtype for name in wanted
    }
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    mapped = torch.load(made, weights_only=True, mmap=True)
    assert all(torch.equal(mapped[name], wanted[name]) for name in wanted)


def test_it_goes_into_the_network():
    path = sorted(places.ZOO.glob("signs-badnets-s0*/model.safetensors"))[0]
    network = models.for_data("preact_resnet_tiny", {"shape": (3, 32, 32), "classes": ["a"] * 12})
    read = torch.load(io.BytesIO(state_dict(path.read_bytes())), weights_only=True)
    assert set(read) == set(network.state_dict())
    fitting = {name: value for name, value in read.items() if "linear" not in name}
    missing, extra = network.load_state_dict(fitting, strict=False)
    assert all("linear" in name for name in missing) and not extra
    assert torch.equal(network.state_dict()["stem.weight"], load_file(path)["stem.weight"].float())


def test_every_type_and_shape():
    raw = save(ODD)
    wanted = load(raw)
    same(
        torch.load(io.BytesIO(state_dict(raw)), weights_only=True),
        {name: wanted[name] for name in read_safetensors(raw)},
    )


def test_a_changed_tensor_trains_on():
    found = torch.load(io.BytesIO(state_dict(save(ODD))), weights_only=True)
    found["wide"].add_(1)  # storages are their own, and writable
    assert torch.equal(found["wide"], ODD["wide"] + 1)
    assert not found["wide"].requires_grad


def test_it_holds_nothing_but_weights():
    with zipfile.ZipFile(io.BytesIO(state_dict(save(ODD)))) as archive:
        names = archive.namelist()
        assert names[0] == "model/data.pkl" and "model/version" in names
        assert len(names) == len(ODD) + 3 and archive.testzip() is None
        assert all(item.compress_type == zipfile.ZIP_STORED for item in archive.infolist())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"12345678",
        b"\xff" * 64,
        (5).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        b"M\0\0\0\0\0\0\0"
        + b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}'.ljust(77)
        + b"\0" * 4,
        b"M\0\0\0\0\0\0\0"
        + b'{"a":{"dtype":"X32","shape":[1],"data_offsets":[0,4]}}'.ljust(77)
        + b"\0" * 4,
    ],
)
def test_anything_else_is_refused(raw):
    with pytest.raises(SpecError, match="no safetensors"):
        state_dict(raw)
