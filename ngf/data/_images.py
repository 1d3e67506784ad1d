"""Labeled images as tensors, and the interface of a data set."""

from __future__ import annotations

from dataclasses import dataclass

import torch


class DataError(ValueError):
    """Data that is missing, damaged or too small; the message names the file and what to do."""

    kind = "data"


@dataclass(frozen=True)
class Images:
    """Images and labels that belong together.

    images: uint8 (N, C, H, W); labels: int64 (N,). uint8 because 10,000 color images of 32x32 are then
    30 MB and fit on any device whole.
    """

    images: torch.Tensor
    labels: torch.Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise ValueError(f"images must be uint8 (N, C, H, W), got {self.images.dtype} "
                             f"{tuple(self.images.shape)}.")
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(f"labels must be int64 ({len(self.images)},), got {self.labels.dtype} "
                             f"{tuple(self.labels.shape)}.")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: torch.Tensor | slice) -> Images:
        """The images at `index` (int64 or bool tensor, or slice)."""
        return Images(self.images[index], self.labels[index])

    def to(self, device: torch.device | str) -> Images:
        return Images(self.images.to(device), self.labels.to(device))

    def floats(self) -> torch.Tensor:
        """All images as float32 in [0, 1]."""
        return to_float(self.images)


def to_float(images: torch.Tensor) -> torch.Tensor:
    """uint8 in 0..255 -> float32 in [0, 1]."""
    return images.to(torch.float32).div_(255)


def to_bytes(images: torch.Tensor) -> torch.Tensor:
    """float in [0, 1] -> uint8, rounded to the nearest."""
    return images.mul(255).round_().clamp_(0, 255).to(torch.uint8)
