"""What is found in a stranger's file, and every way in which one is refused; nothing of it runs."""

from __future__ import annotations

import argparse
import builtins
import io
import json
import os
import pickle
import random
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save

from ngf.outside.checkpoint import Ask, Limits, NotOpened
from ngf.outside.opening.look import Seen
from tests.helpers.checkpoint_files import network, old, saved, seen, state, tensors
from tests.helpers.hostile import HOSTILE

RUNS = pytest.mark.parametrize("save_as", [saved, old], ids=["zip", "legacy"])


def refusal(data: bytes, limits: Limits | None = None) -> str:
    """The sentence with its way out."""
    with pytest.raises(NotOpened) as caught:
        tensors(seen(data, limits=limits))
    error = caught.value
    assert str(error).endswith(".") and "\n" not in str(error)
    assert error.advice.endswith(".")
    return f"{error} {error.advice}"


@RUNS
def test_the_plain_state_dict_comes_out_as_it_is(save_as):
    found = seen(save_as(network().state_dict()))
    assert (found.container, found.path, found.prefix, found.notes) == ("pt", (), "", ())
    read = tensors(found)
    assert list(read) == list(state())
    assert all(torch.equal(read[name], value) for name, value in state().items())
    assert all(value.is_contiguous() and not value.requires_grad for value in read.values())


@RUNS
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precision_becomes_float32(save_as, dtype):
    given = {name: v.to(dtype) if v.is_floating_point() else v for name, v in state().items()}
    found = seen(save_as(given))
    read = tensors(found)
    for name, value in given.items():
        assert torch.equal(read[name].to(value.dtype), value)
        assert read[name].dtype in (torch.float32, torch.int64)
    word = str(dtype).removeprefix("torch.")
    assert (
        found.dtypes["conv.weight"] == word and found.dtypes["norm.num_batches_tracked"] == "int64"
    )
    assert any(word in note for note in found.notes)


@pytest.mark.parametrize(
    "wrapper",
    ["state_dict", "model", "net", "model_state_dict", "network", "weights", "params", "ema"],
)
def test_wrapping_dictionaries_are_unwrapped(wrapper):
    optimizer = torch.optim.SGD(network().parameters(), lr=0.1, momentum=0.9)
    given = {"epoch": 3, wrapper: state(), "optimizer": optimizer.state_dict(), "best": 0.9}
    found = seen(saved(given))
    assert found.path == (wrapper,) and list(tensors(found)) == list(state())
    assert found.notes == (
        f"The weights were taken from {wrapper}.",
        "The file also holds epoch, optimizer, best: they are not used.",
    )


def test_a_momentum_buffer_is_no_second_model():
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    found = seen(saved({"my_optim": optimizer.state_dict(), "model": model.state_dict()}))
    assert found.path == ("model",)


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module.model.", "_orig_mod.module.", "net.backbone."]
)
def test_prefixes_of_all_names_are_taken_off(prefix):
    found = seen(saved({prefix + name: value for name, value in state().items()}))
    assert found.prefix == prefix and list(tensors(found)) == list(state())


@pytest.mark.parametrize(
    "names", [["net.0.weight", "net.0.bias"], ["features.0.weight"], ["model.weight", "model.bias"]]
)
def test_a_prefix_that_tells_the_layer_stays(names):
    assert seen(saved({name: torch.ones(2, 2) for name in names})).prefix == ""


def test_a_prefix_of_some_names_stays():
    found = seen(saved({"encoder.conv.weight": torch.ones(2, 2), "head.weight": torch.ones(2, 2)}))
    assert found.prefix == "" and list(found.dtypes) == ["encoder.conv.weight", "head.weight"]


def test_lightning():
    given = {
        "epoch": 1,
        "pytorch-lightning_version": "2.4",
        "state_dict": {f"model.{name}": value for name, value in state().items()},
        "loops": {"fit_loop": {"state_dict": {}}},
        "optimizer_states": [{"state": {}, "param_groups": []}],
        "hyper_parameters": {"num_classes": 10, "arch": "tiny"},
    }
    found = seen(saved(given))
    assert (found.path, found.prefix) == (("state_dict",), "model.")
    assert found.extra == {"num_classes": 10, "model_name": "tiny"}


def test_backdoorbench():
    given = {
        "model_name": "preactresnet18",
        "num_classes": 10,
        "model": state(),
        "data_path": "../data/cifar10",
        "img_size": (32, 32, 3),
        "clean_data": "cifar10",
        "bd_train": {"poison_indicator": np.zeros(4), "save_folder_path": Path("record")},
        "bd_test": None,
    }
    found = seen(saved(given))
    assert found.path == ("model",) and list(tensors(found)) == list(state())
    assert found.extra == {"model_name": "preactresnet18", "num_classes": 10, "image_size": 32}
    assert "bd_train" in found.notes[-1]


def test_data_beside_the_weights_is_passed_over_and_never_made():
    given = {
        "model": state(),
        "args": argparse.Namespace(lr=0.1, out=Path("x")),
        "best": np.float64(0.9),
        "more": SimpleNamespace(a=1),
    }
    assert list(tensors(seen(saved(given)))) == list(state())


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"classes": ["cat", "dog"]}, {"classes": ["cat", "dog"]}),
        ({"class_to_idx": {"dog": 1, "cat": 0}}, {"classes": ["cat", "dog"]}),
        ({"classes": ["cat", 3]}, {}),
        ({"classes": ["a\nb"]}, {}),
        ({"class_to_idx": {"dog": 1, "cat": 7}}, {}),
        ({"img_size": [3, 48, 48]}, {"image_size": 48}),
        ({"img_size": (32, 64)}, {}),
        ({"num_classes": True}, {}),
        ({"arch": "x" * 1000}, {}),
    ],
)
def test_plain_values_that_help(given, wanted):
    assert seen(saved({"model": state(), **given})).extra == wanted


@pytest.mark.parametrize(
    "names", [("model", "model_ema"), ("state_dict", "state_dict_ema"), ("generator", "critic")]
)
def test_several_models_are_asked_about(names):
    other = {name: value + 1 for name, value in state().items()}
    data = saved(dict(zip(names, (state(), other))))
    with pytest.raises(Ask) as caught:
        seen(data)
    assert caught.value.options == names and names[1] in str(caught.value)
    read = tensors(seen(data, pick=names[1]))
    assert torch.equal(read["conv.weight"], other["conv.weight"])
    with pytest.raises(NotOpened, match="nothing_like_it"):
        seen(data, pick="nothing_like_it")


def test_a_loss_beside_the_model_is_no_second_model():
    given = {"state_dict": state(), "criterion": {"weight": torch.ones(10)}, "mean": torch.ones(3)}
    found = seen(saved(given))
    assert found.path == ("state_dict",) and "criterion, mean" in found.notes[-1]


def test_safetensors():
    found = seen(save(state(), metadata={"format": "pt"}))
    read = tensors(found)
    assert found.container == "safetensors" and read.keys() == state().keys()
    assert all(torch.equal(read[name], value) for name, value in state().items())


def test_views_and_tied_weights_are_read():
    whole = torch.arange(24.0).reshape(4, 6)
    given = {"a.w": whole.T, "b.w": whole[1:, 2:], "c.w": whole, "d.none": torch.empty(0, 3)}
    for data in (saved(given), old(given)):
        read = tensors(seen(data))
        assert all(torch.equal(read[name], value) for name, value in given.items())


def test_parameters_are_tensors():
    found = seen(saved({"fc.weight": torch.nn.Parameter(torch.ones(2, 2))}))
    assert type(tensors(found)["fc.weight"]) is torch.Tensor


# What is refused.


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


def records(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.ones(3))
    return file.getvalue()


def scripted() -> bytes:
    return zipped({"m/data.pkl": b"", "m/constants.pkl": b"", "m/code/__torch__.py": b""})


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"hello, this is a text\n" * 9, "no checkpoint"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 99, "Keras"),
        (b"\x1c\0\0\0TFL3" + b"\0" * 99, "TensorFlow Lite"),
        (b"\x08\x01\x12\xb0\x01\x0a\x05serve" + b"\0" * 99, "SavedModel"),
        (b"\x08\x08\x12\x07pytorch\x1a\x052.1.0" + b"\0" * 99, "ONNX"),
        (b"\x08\x07:\xff\x01" + b"\0" * 99, "ONNX"),
        (npy(), "NumPy"),
        (zipped({"a.npy": npy()}), "NumPy"),
        (pickle.dumps(np.ones(3)), "Python pickle"),
        (pickle.dumps(np.ones(3), 2), "Python pickle"),
        (pickle.dumps({"weight": torch.ones(2)}, 2), "Python pickle"),
        (zipped({"config.json": b"{}", "model.weights.h5": b""}), "Keras"),
        (zipped({"weights/model.pth": b"x"}), "unpack it"),
        (scripted(), "TorchScript"),
        (b"\x1f\x8b\x08" + b"\0" * 99, "gzip"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 99, "PNG"),
        (b"%PDF-1.7" + b"\0" * 99, "PDF"),
    ],
)
def test_other_kinds_are_named(data, word):
    assert word in refusal(data)


def test_a_real_torchscript_program(recwarn):
    program = torch.jit.trace(torch.nn.Conv2d(3, 4, 3), torch.ones(1, 3, 8, 8))
    file = io.BytesIO()
    torch.jit.save(program, file)
    assert "TorchScript" in refusal(file.getvalue())


@RUNS
def test_a_whole_model_is_told_the_two_lines(save_as):
    said = refusal(save_as(network()))
    assert "whole model" in said and "torch.save(model.state_dict(), 'weights.pt')" in said
    assert "whole model" in refusal(save_as({"model": network(), "epoch": 3}))


class Runs:
    """A pickle of it calls `call` when it is opened by plain `pickle`."""

    def __init__(self, call, *given):
        self.call, self.given = call, given

    def __reduce__(self):
        return self.call, self.given


@RUNS
@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_code_does_not_run(save_as, protocol, tmp_path, monkeypatch):
    marker = tmp_path / "ran"
    calls = [
        Runs(os.mkdir, str(marker)),
        Runs(os.system, f"touch {marker}"),
        Runs(builtins.eval, f"open({str(marker)!r}, 'w')"),
        Runs(builtins.open, str(marker), "w"),
        Runs(torch.save, 1, str(marker)),
        Runs(getattr, OrderedDict, "fromkeys"),
    ]
    for call in calls:
        data = saved({"model": state(), "x": call}, pickle_protocol=protocol)
        if save_as is old:
            data = saved(
                {"model": state(), "x": call},
                pickle_protocol=protocol,
                _use_new_zipfile_serialization=False,
            )
        assert "opening it would run" in refusal(data)
        assert not marker.exists()
    assert "Python pickle" in refusal(pickle.dumps(calls[0])) and not marker.exists()


@pytest.mark.parametrize(
    "code",
    [
        b"\x80\x02cos\nmkdir\nX\x06\x00\x00\x00MARKER\x85R.",
        b"\x80\x02(X\x06\x00\x00\x00MARKERios\nmkdir\n.",
        b"\x80\x02(cos\nmkdir\nX\x06\x00\x00\x00MARKERo.",
        b"\x80\x02cos\nmkdir\nX\x06\x00\x00\x00MARKER\x85\x81.",
        b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93X\x06\x00\x00\x00MARKER\x85R.",
        b"\x80\x02ccollections\nOrderedDict\n}X\x09\x00\x00\x00__class__cos\nmkdir\nsb.",
    ],
)
def test_opcodes_that_call_do_not_call(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = records(saved(state()))
    with pytest.raises((NotOpened, Ask)):
        tensors(seen(zipped(files | {"archive/data.pkl": code})))
    assert not list(tmp_path.iterdir())


def test_bombs_are_not_unpacked():
    files = records(saved(state()))
    assert "compressed" in refusal(zipped(files, zipfile.ZIP_DEFLATED))
    bomb = zipped({"a/data.pkl": b"\0" * 50_000_000}, zipfile.ZIP_DEFLATED)
    assert "50.0 MB" in refusal(bomb)
    lying = zipped(files)
    at = lying.rfind(b"PK\x01\x02")
    huge = lying[: at + 20] + struct.pack("<II", 2**31, 2**31) + lying[at + 28 :]
    assert "damaged" in refusal(huge)


def test_an_encrypted_archive():
    data = bytearray(saved(state()))
    at = data.rfind(b"PK\x01\x02")
    data[at + 8] |= 1
    assert "encrypted" in refusal(bytes(data))


def planned(size, stride=None, numel: int = 4, held: int | None = None) -> bytes:
    """A state dict with one tensor of that size over a storage that says it has `numel`."""
    pid = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"

    def ints(row):
        return (
            b"(" + b"".join(b"\x8a\x09" + n.to_bytes(9, "little", signed=True) for n in row) + b"t"
        )

    stride = stride if stride is not None else [1] * len(size)
    made = (
        b"\x80\x02}X\x08\x00\x00\x00a.weightctorch._utils\n_rebuild_tensor_v2\n("
        + pid
        + ints([numel])[1:-1]
        + b"tQK\x00"
        + ints(size)
        + ints(stride)
        + b"\x89ccollections\nOrderedDict\n)RtRs."
    )
    files = records(saved({"a.weight": torch.ones(4)}))
    files["archive/data.pkl"] = made
    files["archive/data/0"] = b"\0" * (4 * numel if held is None else held)
    return zipped(files)


def test_tensors_that_are_larger_than_their_values():
    assert torch.equal(tensors(seen(planned([2, 2], [2, 1])))["a.weight"], torch.zeros(2, 2))
    assert "claims 1,000,000,000,000 values" in refusal(planned([10**12], [0]))
    assert "claims 1,000,000,000,000 values" in refusal(planned([10**6, 10**6]))
    assert "repeats" in refusal(planned([4], [0]))
    assert "reaches beyond" in refusal(planned([4], [2]))
    assert "damaged" in refusal(planned([-4], [1]))
    assert "claims" in refusal(planned([2**70], [1]))
    assert "damaged" in refusal(planned([4], [-1]))
    assert "promises 4,000,000,000,000 bytes" in refusal(planned([4], [1], 10**12, 16))
    assert "axes" in refusal(planned([1] * 40))
    assert "repeats" in refusal(saved({"a": torch.ones(1).expand(1000)}))


def test_an_old_file_that_promises_more_than_it_holds():
    data = old({"a.weight": torch.ones(4)})
    assert "ends before" in refusal(data[:-1])
    huge = data.replace(b"K\x04N", b"J\x00\x00\x00\x7fN")
    assert huge != data and "damaged" in refusal(huge)


def header(entries: dict, data: bytes = b"", length: int | None = None) -> bytes:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape=(2,), start=0, end=8, dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (header({"a": entry()}, b"\0" * 8, 2**62), "longer than the file"),
        (header({"a": entry()}, b"\0" * 7), "longer or shorter"),
        (header({"a": entry()}, b"\0" * 9), "longer or shorter"),
        (header({"a": entry((2**40, 2**40), 0, 8)}, b"\0" * 8), "other bytes"),
        (header({"a": entry((-2,), 0, 8)}, b"\0" * 8), "shape"),
        (header({"a": entry((True, 2), 0, 8)}, b"\0" * 8), "shape"),
        (header({"a": entry((2,), 8, 0)}, b"\0" * 8), "other bytes"),
        (header({"a": entry(), "b": entry()}, b"\0" * 8), "overlap"),
        (header({"a": entry((2,), 4, 12)}, b"\0" * 12), "holes"),
        (header({"a": entry(dtype="C64", shape=(1,))}, b"\0" * 8), "type C64"),
        (header({"a": entry(dtype="<b>")}, b"\0" * 8), "type \\x3cb\\x3e"),
        (header({"a": 5}), "too little"),
        (header(b'{"a":' + b"[" * 100_000), "header cannot be read"),
        (header(b'{"a":1,"a":2}'), "header cannot be read"),
        (header(b"{}"), "empty"),
    ],
)
def test_lying_headers(data, word):
    assert word in refusal(data)


def test_what_was_cut_short():
    for whole in (saved(state()), old(state()), save(state())):
        for part in (9, 70, 200, len(whole) // 2, len(whole) - 30, len(whole) - 1):
            refusal(whole[:part])


@RUNS
def test_numbers_that_no_weights_have(save_as):
    nan = state()
    nan["conv.weight"][0, 0, 0, 0] = torch.nan
    nan["conv.bias"][0] = -torch.inf
    said = refusal(save_as(nan))
    assert "conv.weight, conv.bias are not finite" in said
    large = torch.full((2, 2), 1e300, dtype=torch.float64)  # no number of float32
    assert "conv.weight" in refusal(save_as({"conv.weight": large}))
    negative = state() | {"norm.running_var": -torch.ones(4)}
    assert "norm.running_var are negative" in refusal(save_as(negative))


def odd_tensors():
    sparse = torch.eye(3).to_sparse()
    yield "quantized", torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
    yield "sparse", sparse
    yield "complex64", torch.ones(3, dtype=torch.complex64)
    yield "meta", torch.empty(3, device="meta")


@pytest.mark.filterwarnings("ignore")  # torch warns of its own quantized tensors
@pytest.mark.parametrize("word", ["quantized", "sparse", "complex64", "meta"])
def test_tensors_of_other_kinds(word):
    odd = dict(odd_tensors())[word]
    assert word in refusal(saved({"a.weight": torch.ones(2, 2), "a.odd": odd}))


@pytest.mark.filterwarnings("ignore")
def test_nested_tensors():
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    assert "nested" in refusal(saved({"a.weight": nested}))


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({}, "empty dictionary"),
        ({"model": {}}, "no weights"),
        ([torch.ones(2)], "no dictionary"),
        (torch.ones(2), "without a name"),
        ({"epoch": 3, "loss": 0.5}, "no weights, only epoch, loss"),
        ({"state": {0: {"exp_avg": torch.ones(2, 2)}}, "param_groups": []}, "optimizer"),
        ({"optimizer": {"state": {}, "param_groups": []}, "epoch": 1}, "optimizer"),
        ({0: torch.ones(2, 2), 1: torch.ones(2)}, "no text but int"),
        ({"a": {"b": {"c": {"d": {"e": {"f": torch.ones(2, 2)}}}}}}, "nests more than 4"),
        ({"": torch.ones(2, 2)}, "empty or too long"),
        ({"x" * 2000: torch.ones(2, 2)}, "empty or too long"),
        ({"a\n.weight": torch.ones(2, 2)}, "a\\n.weight"),
        ({"a\x1b[31m.weight": torch.ones(2, 2)}, "\\x1b"),
        ({"a\u202e.weight": torch.ones(2, 2)}, "\\u202e"),
    ],
)
def test_dictionaries_without_weights(given, word):
    assert word in refusal(saved(given))


def test_markup_of_a_name_is_escaped_wherever_it_is_said():
    for text in HOSTILE:
        for given in ({text: torch.full((2, 2), torch.nan)}, {text: 1}, {"model": {text: {}}}):
            said = refusal(saved(given)).replace(
                "`torch.save(model.state_dict(), 'weights.pt')`", ""
            )
            assert not set("<>[]$&|*`") & set(said) and "http:" not in said.lower()
        noted = seen(saved({"model": state(), text: 1})).notes[-1]
        assert not set("<>[]$&|*`/") & set(noted)


def test_too_many_and_too_large():
    few = Limits(tensors=3)
    assert "more than 3 tensors" in refusal(saved(state()), few)
    assert "more than 3 tensors" in refusal(save(state()), few)
    shared = torch.ones(20)
    tied = {"a.w": shared, "b.w": shared}
    assert "the limit" in refusal(saved(tied), Limits(tensor_bytes=100))
    assert "the limit" in refusal(saved(state()), Limits(structure_bytes=10))
    assert "header" in refusal(save(state()), Limits(structure_bytes=10))


def test_dictionaries_without_an_end():
    circle = {}
    circle["a"] = circle["b"] = circle
    assert "nests" in refusal(saved(circle))
    laughs = {"a": 1}
    for _ in range(4):
        laughs = {str(i): laughs for i in range(40)}
    assert "without an end" in refusal(saved(laughs))


def test_deep_nesting():
    deep = b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."
    files = records(saved(state()))
    assert "no dictionary" in refusal(zipped(files | {"archive/data.pkl": deep}))


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_are_refused_in_words(seed):
    chance = random.Random(seed)
    small = {"a.weight": torch.ones(2, 3), "a.running_var": torch.ones(3).half()}
    wholes = [saved({"model": small, "epoch": 1}), saved(small), old(small), save(small)]
    opened = 0
    for _ in range(50):
        data = bytearray(chance.choice(wholes))
        near = data.find(b"\x80\x02") if chance.random() < 0.7 and b"\x80\x02" in data else 0
        reach = min(len(data) - near, 600)
        for _ in range(chance.choice([1, 1, 2, 8])):
            data[near + chance.randrange(reach)] = chance.choice(
                [0, 0xFF, chance.randrange(256), *b"(.)RQabso}]tu\x81\x93\x85"]
            )
        if chance.random() < 0.2:
            del data[chance.randrange(len(data)) :]
        try:
            found = seen(bytes(data))
            assert isinstance(found, Seen) and tensors(found)
            opened += 1
        except (NotOpened, Ask) as error:
            assert "\n" not in str(error) and str(error).isprintable()
    assert opened < 50
