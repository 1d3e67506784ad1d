"""What a file promises before anything of it is loaded: tensors as numbers, checked as numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ngf.outside.opening.refusal import Limits, NotOpened, damaged, megabytes

# Bytes of an element, by the name of the type in torch.
BYTES = {
    "bool": 1,
    "uint8": 1,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
    "float16": 2,
    "bfloat16": 2,
    "float32": 4,
    "float64": 8,
}
MOST_AXES = 16


@dataclass(frozen=True)
class Planned:
    """A tensor that the file promises: a view of a storage with `held` elements.

    odd: what it is instead, in words, if it is none of the tensors that are read: `quantized`.
    """

    dtype: str
    size: tuple[int, ...]
    stride: tuple[int, ...] = ()
    offset: int = 0
    held: int = 0
    odd: str = ""

    @property
    def numel(self) -> int:
        """Elements."""
        return math.prod(self.size)

    def as_read(self) -> str:
        """The type in which it is handed on."""
        return "float32" if self.dtype.startswith(("float", "bfloat")) else self.dtype

    def check(self) -> None:
        """Raises NotOpened if it is odd or reaches beyond its storage."""
        if self.odd:
            raise NotOpened(
                f"The file holds {self.odd} tensors, which are not read.",
                advice="Save the weights as plain, dense tensors of real numbers.",
            )
        if self.dtype not in BYTES:
            raise NotOpened(
                f"The file holds tensors of the type {self.dtype}, which is not read.",
                advice="Save the weights as plain, dense tensors of real numbers.",
            )
        whole = (*self.size, *self.stride, self.offset)
        if len(self.size) != len(self.stride) or any(type(n) is not int or n < 0 for n in whole):
            raise damaged("a tensor has a shape that is none")
        if len(self.size) > MOST_AXES:
            raise damaged(f"a tensor has more than {MOST_AXES} axes")
        if self.numel == 0:
            return
        if self.numel > self.held or any(
            step == 0 and n > 1 for n, step in zip(self.size, self.stride)
        ):
            raise NotOpened(
                f"A tensor claims {self.numel:,} values where the file holds {self.held:,}: it "
                "repeats them or invents them.",
                advice="Save contiguous copies of the weights.",
            )
        last = self.offset + sum((n - 1) * step for n, step in zip(self.size, self.stride))
        if last >= self.held:
            raise damaged("a tensor reaches beyond its values")


def dense(size: Sequence[int]) -> tuple[int, ...]:
    """The strides of a contiguous tensor of this size, as torch counts them."""
    return tuple(math.prod(size[axis + 1 :]) for axis in range(len(size)))


def check_total(tensors: Iterable[Planned], limits: Limits) -> None:
    """Raises NotOpened where there are too many tensors, or where they become too large."""
    total = 0
    for count, tensor in enumerate(tensors, start=1):
        total += tensor.numel * BYTES[tensor.as_read()]
        if count > limits.tensors:
            raise NotOpened(
                f"The file holds more than {limits.tensors:,} tensors, which are the limit."
            )
        if total > limits.tensor_bytes:
            raise NotOpened(
                f"The weights take more than {megabytes(limits.tensor_bytes)}, the limit.",
                advice="Bring a smaller model.",
            )
