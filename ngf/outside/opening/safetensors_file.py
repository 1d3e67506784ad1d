"""Safetensors by its specification: eight bytes of length, a JSON header, and the values, without
holes or overlaps. Read here, since each number of the header is checked before it is believed.

https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from ngf.outside.opening.plan import BYTES, Planned, dense
from ngf.outside.opening.refusal import Limits, NotOpened, damaged, plain

if TYPE_CHECKING:
    from torch import Tensor

TYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
}
_CODES = {dtype: code for code, dtype in TYPES.items()}


@dataclass(frozen=True)
class Place:
    """Where the values of a tensor lie: bytes from the beginning of the file."""

    tensor: Planned
    start: int
    end: int


def places(file: IO[bytes], size: int, limits: Limits) -> dict[str, Place]:
    """All tensors by name, in the order of the header. Raises NotOpened."""
    file.seek(0)
    beginning = file.read(8)
    length = struct.unpack("<Q", beginning)[0] if len(beginning) == 8 else size
    if length > size - 8:
        raise damaged("its header is longer than the file")
    if length > limits.structure_bytes:
        raise NotOpened(f"The header of the file is too long: {length:,} bytes.")
    try:
        header = json.loads(file.read(length), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise damaged("its header cannot be read") from None
    if not isinstance(header, dict):
        raise damaged("its header cannot be read")
    header.pop("__metadata__", None)
    if len(header) > limits.tensors:
        raise NotOpened(f"The file holds more than {limits.tensors:,} tensors.")
    found = {name: _place(name, entry, 8 + length) for name, entry in header.items()}
    position = 8 + length
    for place in sorted(found.values(), key=lambda place: (place.start, place.end)):
        if place.start != position:
            raise damaged("its tensors overlap or leave holes")
        position = place.end
    if position != size:
        raise damaged("it is longer or shorter than its header says")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a name twice")
    return made


def _place(name: str, entry: Any, base: int) -> Place:
    try:
        code, size = entry["dtype"], tuple(entry["shape"])
        start, end = entry["data_offsets"]
    except (TypeError, KeyError, ValueError):
        raise damaged(f"its header says too little of {plain(name)}") from None
    if any(type(number) is not int or number < 0 for number in (*size, start, end)):
        raise damaged(f"the shape of {plain(name)} is none")
    if code not in TYPES:
        raise NotOpened(
            f"The file holds tensors of the type {plain(code)}, which is not read.",
            advice="Save the weights as plain, dense tensors of real numbers.",
        )
    numel = math.prod(size)
    if end - start != numel * BYTES[TYPES[code]]:
        raise damaged(f"{plain(name)} takes other bytes than its shape says")
    return Place(Planned(TYPES[code], size, dense(size), 0, numel), base + start, base + end)


def read(file: IO[bytes], place: Place) -> Tensor:
    """The tensor at `place`, in memory of its own."""
    import torch

    dtype = getattr(torch, place.tensor.dtype)
    if place.start == place.end:
        return torch.empty(place.tensor.size, dtype=dtype)
    data = bytearray(place.end - place.start)
    file.seek(place.start)
    if file.readinto(data) != len(data):  # type: ignore[attr-defined]
        raise damaged("it ends before the weights do")
    return torch.frombuffer(data, dtype=dtype).reshape(place.tensor.size)


def write(
    file: IO[bytes], promised: Mapping[str, Planned], tensors: Iterable[tuple[str, Tensor]]
) -> None:
    """Write `tensors`, which must be as `promised` and in that order, one at a time."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name, planned in promised.items():
        end = position + planned.numel * BYTES[planned.dtype]
        header[name] = {
            "dtype": _CODES[planned.dtype],
            "shape": list(planned.size),
            "data_offsets": [position, end],
        }
        position = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the values are aligned
    file.write(struct.pack("<Q", len(text)) + text)
    for part in _bytes(promised, tensors):
        file.write(part)


def _bytes(
    promised: Mapping[str, Planned], tensors: Iterable[tuple[str, Tensor]]
) -> Iterator[memoryview]:
    import torch

    for (name, planned), (own, tensor) in zip(promised.items(), tensors, strict=True):
        dtype = str(tensor.dtype).removeprefix("torch.")
        if (name, planned.dtype, planned.size) != (own, dtype, tuple(tensor.shape)):
            raise damaged(f"{plain(own)} is not what the file promises")
        if tensor.numel():
            flat = tensor.detach().contiguous().reshape(-1)
            yield flat.view(torch.uint8).numpy().data
