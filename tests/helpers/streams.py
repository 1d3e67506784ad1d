"""Streams of random numbers and of results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import torch

T = TypeVar("T")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def last(results: Iterator[T]) -> T:
    """The final one of a stream of results."""
    *_, item = results
    return item
