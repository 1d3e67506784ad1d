"""Labeled images as tensors, and the interface of a data set."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass

import numpy as np
import torch

from ngf.options import Explained
from ngf.places import cache_dir

# Images of this many bytes and more are kept in a file that is mapped into memory, so that the
# system can take the memory back; what is smaller is faster without.
LARGE = 512 * 2**20
_CHUNK = 64 * 2**20  # bytes copied at once between large images


class DataError(Explained, ValueError):
    """Data that is missing, damaged or too small; the message names the file and what to do."""

    kind = "data"
    advice = "Put right what the message names, then start this run again."

    def __init__(self, message: str) -> None:
        # A name may hold bytes that are not UTF-8, a message may not: it is written and shown.
        super().__init__(message.encode("utf-8", "backslashreplace").decode("utf-8"))


@dataclass(frozen=True)
class Images:
    """Images and labels that belong together.

    images: uint8 (N, C, H, W); 10,000 color images of 32x32 are then 30 MB and fit on any device
        whole. From `LARGE` bytes on they lie in a file that is mapped into memory.
    labels: int64 (N,).
    """

    images: torch.Tensor
    labels: torch.Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise ValueError(
                f"images must be uint8 (N, C, H, W), got {self.images.dtype} "
                f"{tuple(self.images.shape)}."
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"labels must be int64 ({len(self.images)},), got {self.labels.dtype} "
                f"{tuple(self.labels.shape)}."
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        _count, channels, height, width = self.images.shape
        return channels, height, width

    def take(self, index: torch.Tensor | slice) -> Images:
        """The images at `index` (int64 or bool tensor, or slice)."""
        return Images(rows(self.images, index), self.labels[index])

    def to(self, device: torch.device | str) -> Images:
        return Images(self.images.to(device), self.labels.to(device))

    def floats(self) -> torch.Tensor:
        """All images as float32 in [0, 1]."""
        return to_float(self.images)


def empty(count: int, shape: tuple[int, ...], device: torch.device | str = "cpu") -> torch.Tensor:
    """Images that are yet to be filled: uint8 (count, *shape); from `LARGE` bytes on in a
    file without a name.
    """
    size = count * int(np.prod(shape))
    if torch.device(device).type != "cpu" or size < LARGE:
        return torch.empty((count, *shape), dtype=torch.uint8, device=device)
    folder = cache_dir() / "large"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(
                file.fileno(), 0, size
            )  # a full disk is an error here, a crash later
        return torch.from_numpy(np.memmap(file, np.uint8, "r+", shape=(count, *shape)))


def rows(images: torch.Tensor, index: torch.Tensor | slice) -> torch.Tensor:
    """`images[index]` along the first axis, a copy unless `index` is a slice; large ones are
    copied in chunks.
    """
    if isinstance(index, slice):
        return images[index]
    if index.dtype == torch.bool:
        index = index.nonzero()[:, 0]
    each = images[0].numel() if len(images) else 1
    if images.device.type != "cpu" or len(index) * each < LARGE:
        return images[index]
    out, step = empty(len(index), images.shape[1:]), max(1, _CHUNK // each)
    for chunk, place in zip(index.split(step), out.split(step), strict=True):
        place.copy_(images[chunk])
    return out


def to_float(images: torch.Tensor) -> torch.Tensor:
    """uint8 in 0..255 -> float32 in [0, 1]."""
    return images.to(torch.float32).div_(255)


def centered(images: torch.Tensor) -> torch.Tensor:
    """[0, 1] -> about zero mean and unit size: what every network here is fed.

    One constant for all channels and data sets; pixels of natural images have a standard deviation
    of about a quarter.
    """
    return (images - 0.5) * 4


def to_bytes(images: torch.Tensor) -> torch.Tensor:
    """float in [0, 1] -> uint8, rounded to the nearest."""
    # By way of int16: on a CPU torch converts float to uint8 one number at a time, five times
    # slower than both steps.
    return images.mul(255).round_().clamp_(0, 255).to(torch.int16).to(torch.uint8)
