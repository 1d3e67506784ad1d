"""The options that every measurement shares: on how many images, and on which."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from analysis.partial import Value
from ngf.config import check_fields, option

# data -> which images, which labels, and what the share of right answers then is
DATA = {
    "clean": "clean test images with their classes; accuracy is CA",
    "triggered_true": "triggered test images with their true classes; accuracy is RA",
    "triggered_target": "triggered test images with the attacker's classes; accuracy is ASR",
}
RATE = {"clean": "ca", "triggered_true": "ra", "triggered_target": "asr"}


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Base of the measurements. `data` only names what `measure` is given; it chooses no images itself."""

    num_images: int = option(512, "Test images to measure on, drawn by the seed.", unit="images",
                             ge=1, le=100_000)
    data: str = option("clean", "Clean test images, or triggered ones with their true or the target class.",
                       choices=tuple(DATA))

    __post_init__ = check_fields

    def stamp(self, images: Tensor, seed: int) -> Callable[[], dict[str, Value]]:
        """What every number must say of itself: data, n, seed, BatchNorm mode, and seconds so far."""
        start = time.perf_counter()
        known = {"n": len(images), "data": self.data, "batch_norm": "eval", "seed": seed}
        return lambda: {**known, "seconds": time.perf_counter() - start}
