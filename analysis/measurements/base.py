"""The options that every measurement shares: on how many images, and on which."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from analysis.result import Value
from ngf.config import check_fields, option

# data -> which images, which labels, and what the share of right answers then is
DATA = {
    "clean": "clean test images with their classes; accuracy is CA",
    "triggered_true": "triggered test images with their true classes; accuracy is RA",
    "triggered_target": "triggered test images with the attacker's classes; accuracy is ASR",
    "train": "the images that the model was trained on, before poisoning, with their classes",
    "validation": "clean validation images, which a defender may look at",
    "poisoned": (
        "the training mix as the model saw it: clean, poisoned and cover images (not augmented)"
    ),
}
RATE = {
    "clean": "ca",
    "triggered_true": "ra",
    "triggered_target": "asr",
    "train": "ca",
    "validation": "ca",
    "poisoned": "accuracy",
}


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Base of the measurements. `data` only names what `measure` is given; it chooses no
    images itself.
    """

    num_images: int = option(
        512, "Images to measure on, drawn by the seed.", unit="images", ge=1, le=100_000
    )
    data: str = option(
        "clean",
        "Clean test images, triggered ones with their true or the target class, or the "
        "images of training, validation, or the poisoned training mix.",
        choices=tuple(DATA),
    )
    layers: str = option("", "Layers to measure, separated by commas; empty for all.", expert=True)
    budget: float = option(
        0.0,
        "Stop after this time, with what is there; 0 for no limit.",
        unit="seconds",
        ge=0.0,
        le=1e6,
        expert=True,
    )

    __post_init__ = check_fields

    # Whether `measure` also takes `path`, the weights along the measured run
    # (Iterable[ngf.checkpoints.waypoints.Waypoint]).
    wants_path: ClassVar[bool] = False
    # Whether it can also do something with that path where a purification kept one, but does not
    # need it.
    draws_path: ClassVar[bool] = False

    def others(self) -> tuple[str, ...]:
        """Models beside the measured one and its parent, as `id` or `id:lane`; `measure` gets
        them as `others`.
        """
        return ()

    def stamp(self, images: Tensor, seed: int) -> Callable[[], dict[str, Value]]:
        """What every number must say of itself: data, n, seed, BatchNorm mode, and seconds so
        far.
        """
        start = time.perf_counter()
        known = {"n": len(images), "data": self.data, "batch_norm": "eval", "seed": seed}
        return lambda: {**known, "seconds": time.perf_counter() - start}
