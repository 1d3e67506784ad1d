"""Weights from safetensors as a `.pt` state dict, without torch.

The web process never imports torch, and a child that does needs seconds for it. Both formats are
simple: safetensors is a JSON head and the bytes of the tensors one after another; a `.pt` is a zip
with one stored file of bytes for each tensor and a pickle that says how to view them. The pickle is
written here word by word, with nothing in it but what `torch.load(..., weights_only=True)` allows:
an ordered mapping, `_rebuild_tensor_v2`, and the names of storages. A test reads it back by torch.
"""

from __future__ import annotations

import io
import json
import math
import pickle
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ngf.options import SpecError

# safetensors' name of a type -> bytes of a number, and torch's storage of it
_TYPES = {
    "F64": (8, "DoubleStorage"),
    "F32": (4, "FloatStorage"),
    "F16": (2, "HalfStorage"),
    "BF16": (2, "BFloat16Storage"),
    "I64": (8, "LongStorage"),
    "I32": (4, "IntStorage"),
    "I16": (2, "ShortStorage"),
    "I8": (1, "CharStorage"),
    "U8": (1, "ByteStorage"),
    "BOOL": (1, "BoolStorage"),
}
_ALIGNED = 64  # bytes: where torch lets the numbers of a tensor begin, so that it can map the file
_HEAD = 30  # bytes of a zip's head before a name
_LARGEST_HEADER = 10**8  # bytes, as in safetensors


@dataclass(frozen=True)
class Stored:
    """One tensor of a safetensors file: its type as it is called there, its shape, its bytes."""

    dtype: str
    shape: tuple[int, ...]
    raw: bytes


def read_safetensors(raw: bytes) -> dict[str, Stored]:
    """The tensors of such a file by name. Raises SpecError for anything else."""
    try:
        (length,) = struct.unpack_from("<Q", raw)
        if length > min(len(raw) - 8, _LARGEST_HEADER):
            raise ValueError("its head is longer than the file")
        head = json.loads(raw[8 : 8 + length])
        body = memoryview(raw)[8 + length :]
        return {
            name: _stored(about, body) for name, about in head.items() if name != "__metadata__"
        }
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise SpecError(f"These weights are no safetensors: {error}.") from error


def holds_bounds(path: Path) -> bool:
    """Whether a safetensors file has bounds among its weights (see `ngf.models.bounds`)."""
    with path.open("rb") as file:
        head = file.read(min(_LARGEST_HEADER, struct.unpack("<Q", file.read(8))[0]))
    return any(name.endswith(".bound") for name in json.loads(head))


def _stored(about: Mapping[str, Any], body: memoryview) -> Stored:
    start, end = about["data_offsets"]
    found = Stored(about["dtype"], tuple(map(int, about["shape"])), bytes(body[start:end]))
    if found.dtype not in _TYPES:
        raise ValueError(f"it holds numbers of type {found.dtype!r}")
    if len(found.raw) != math.prod(found.shape) * _TYPES[found.dtype][0]:
        raise ValueError("a tensor has another size than its shape says")
    return found


def write_state_dict(tensors: Mapping[str, Stored], file: IO[bytes]) -> None:
    """A file that `torch.load(file, weights_only=True)` reads as an ordered mapping of tensors."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, "data.pkl", _pickle(tensors))
        _add(archive, "byteorder", b"little")
        for number, tensor in enumerate(tensors.values()):
            _add(archive, f"data/{number}", tensor.raw)
        _add(archive, "version", b"3\n")


def state_dict(raw: bytes) -> bytes:
    """The `.pt` of a safetensors file."""
    file = io.BytesIO()
    write_state_dict(read_safetensors(raw), file)
    return file.getvalue()


def _add(archive: zipfile.ZipFile, name: str, raw: bytes) -> None:
    """A stored file whose bytes begin at a multiple of `_ALIGNED`."""
    about = zipfile.ZipInfo(f"model/{name}", (1980, 1, 1, 0, 0, 0))
    start = archive.fp.tell() + _HEAD + len(about.filename) + 4  # type: ignore[union-attr]
    padding = -start % _ALIGNED
    about.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
    archive.writestr(about, raw)


def _pickle(tensors: Mapping[str, Stored]) -> bytes:
    words = [
        pickle.PROTO + b"\x02",
        _name("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE,
        pickle.MARK,
    ]
    for number, (name, tensor) in enumerate(tensors.items()):
        words += [_text(name), *_rebuilt(number, tensor)]
    words += [pickle.SETITEMS, pickle.STOP]
    return b"".join(words)


def _rebuilt(number: int, tensor: Stored) -> list[bytes]:
    """`_rebuild_tensor_v2(storage, offset, shape, stride, requires_grad, hooks)`"""
    count = math.prod(tensor.shape)
    strides = [math.prod(tensor.shape[place + 1 :]) for place in range(len(tensor.shape))]
    storage = [
        pickle.MARK,
        _text("storage"),
        _name("torch", _TYPES[tensor.dtype][1]),
        _text(str(number)),
        _text("cpu"),
        _number(count),
        pickle.TUPLE + pickle.BINPERSID,
    ]
    return [
        _name("torch._utils", "_rebuild_tensor_v2"),
        pickle.MARK,
        *storage,
        _number(0),
        _numbers(tensor.shape),
        _numbers(strides),
        pickle.NEWFALSE,
        _name("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE,
        pickle.TUPLE + pickle.REDUCE,
    ]


def _name(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _text(text: str) -> bytes:
    raw = text.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(raw)) + raw


def _number(value: int) -> bytes:
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return pickle.LONG1 + struct.pack("<B", len(raw)) + raw


def _numbers(values: tuple[int, ...] | list[int]) -> bytes:
    return pickle.MARK + b"".join(map(_number, values)) + pickle.TUPLE
