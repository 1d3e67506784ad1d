"""What every measurement shares: on how many images, on which, and what else it takes."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from analysis.image_kinds import KINDS
from analysis.result import Partial, Value
from ngf.options import check_fields, option


@dataclass(frozen=True)
class Needs:
    """What a measurement is made of, beside a model and images.

    models: of which models on show it is one run each: of `each`, of `pair` (what a purification
        made of its parent), or of `one` (a demonstration).
    reference: takes the model before purification, as `reference`.
    others: takes further models, as `others`, which the option of this name names (see
        `Measurement.others`).
    path: takes the weights along the run, as `path`: `kept` where the run kept any, or `needed`.
    all_images: is one run per kind of test images, whatever is chosen.
    """

    models: Literal["each", "pair", "one"] = "each"
    reference: bool = False
    others: str = ""
    path: Literal["", "kept", "needed"] = ""
    all_images: bool = False


@dataclass(frozen=True, kw_only=True)
class Measurement(ABC):
    """Base of the measurements. `data` only names what `measure` is given; it chooses no
    images itself.

    A subclass is a frozen dataclass with a `title`, `measure`, and if it takes more than a model
    and images, `needs`.
    """

    num_images: int = option(
        512, "Images to measure on, drawn by the seed.", unit="images", ge=1, le=100_000
    )
    data: str = option(
        "clean",
        "Clean test images, triggered ones with their true or the target class, or the "
        "images of training, validation, or the poisoned training mix.",
        choices=tuple(KINDS),
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

    def __post_init__(self) -> None:
        check_fields(self)

    @abstractmethod
    def measure(self, *arguments: Any, **given: Any) -> Iterator[Partial]:
        """`measure(model, images, labels, *, seed, ...)`, the rest as `needs` says.

        Yields a `Partial` with error bars from the first one on. The model stays untouched, bit for
        bit, and numbers do not depend on how images are cut into chunks.

        images: float (N, C, H, W) in [0, 1]; labels: int64 (N,).
        """

    def needs(self) -> Needs:
        """What `measure` takes beside a model and images, with these options."""
        return Needs()

    def others(self) -> tuple[str, ...]:
        """Models beside the measured one and its parent, as `id` or `id:lane`."""
        return ()

    @property
    def rate(self) -> str:
        """What the share of right answers on these images is called."""
        return KINDS[self.data].rate

    def stamp(self, images: Tensor, seed: int) -> Callable[[], dict[str, Value]]:
        """What every number must say of itself: data, n, seed, BatchNorm mode, and seconds so
        far.
        """
        start = time.perf_counter()
        known = {"n": len(images), "data": self.data, "batch_norm": "eval", "seed": seed}
        return lambda: {**known, "seconds": time.perf_counter() - start}
