"""What every measurement shares: on how many images, on which, and what else it needs."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from analysis.image_kinds import KINDS
from analysis.result import Partial, Value
from ngf.options import check_fields, option


@dataclass(frozen=True)
class Needs:
    """What a measurement takes beside a model and images, and how many runs a page makes of it.

    models: the page makes one run per model that it shows (`each`), one per purification, which
        takes its parent along (`pair`), or a single one, of any model (`one`).
    reference: whether `measure` takes the model before purification, as `reference`.
    others: name of the option that names further models, which `measure` takes as `others` (see
        `Measurement.others`); empty if it takes none.
    poisoned: name of the option that says how many poisoned images it tunes on; `measure` then
        takes them, clean ones and triggered ones to measure on, as `material` (see
        `analysis.reactivation`). Empty if it takes none.
    path: whether `measure` takes the weights along the run, as `path`: `kept` if the run has kept
        any, `needed` if it cannot do without, empty if it takes none.
    all_images: whether the page makes one run per kind of test images, whatever kind is chosen.
    brief: whether it takes seconds and does not wait behind those that take minutes.
    """

    models: Literal["each", "pair", "one"] = "each"
    reference: bool = False
    others: str = ""
    poisoned: str = ""
    path: Literal["", "kept", "needed"] = ""
    all_images: bool = False
    brief: bool = False


@dataclass(frozen=True, kw_only=True)
class Picture:
    """How the Geometry page draws a measurement that it has no section of its own for: one bar per
    model, or one curve.

    question: what the reader wants to know, in one sentence.
    value: name of the number, or with `over` of the array, that is drawn.
    label: what it is, with its unit.
    error: name of its error bar, a number or an array of the same shape; empty where it is exact.
    low, high: of a curve, in place of an error, the arrays that it lies between.
    over, over_label: the array along the axis of a curve, and what that is.
    log: whether the axis of the value is logarithmic.
    share: whether the value is a share, which is drawn in percent, on an axis from 0 to 100.
    cannot: what the picture cannot tell.
    """

    question: str
    value: str
    label: str
    error: str = ""
    low: str = ""
    high: str = ""
    over: str = ""
    over_label: str = ""
    log: bool = False
    share: bool = False
    cannot: str


@dataclass(frozen=True, kw_only=True)
class Measurement(ABC):
    """Base of the measurements.

    A subclass is a frozen dataclass with a `title`, `measure`, and if it takes more than a model
    and images, `needs`. The option `data` only names the images that `measure` is given; it chooses
    none itself. With a `picture` it is a section of the Geometry page, without any line there.
    """

    picture: ClassVar[Picture | None] = None
    # Of an imported model, all images that came along, not only those that no defense sees.
    whole: ClassVar[bool] = False

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

        model: stays untouched, bit for bit.
        images: float (N, C, H, W) in [0, 1]. How they are cut into chunks changes no number.
        labels: int64 (N,).
        seed: decides everything that is random.

        Yields partial results, with error bars from the first one on.
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
        """A function that tells what every number must say of itself: n, data, BatchNorm mode,
        seed, and the seconds since this call.
        """
        start = time.perf_counter()
        return lambda: {
            "n": len(images),
            "data": self.data,
            "batch_norm": "eval",
            "seed": seed,
            "seconds": time.perf_counter() - start,
        }
