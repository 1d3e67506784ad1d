"""What every data set promises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from ngf.data.images import Images
from ngf.progress import Progress, quiet


class DataSet(Protocol):
    """A data set with three pools that share no image: `train`, `holdout` and `test`."""

    @property
    def title(self) -> str: ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """`classes` (names), `shape` (C, H, W), `pools` (name -> images), `survives_flip` (for each
        class, whether a mirrored image still belongs to it); `fingerprint` where the images may
        differ from machine to machine; `block` where images are made so many at once, each
        independent of its place; `left_out` where files are no part of it: `said` in words,
        `files` as [name, why]. May read files; raises DataError.
        """
        ...

    def prepare(self, pool: str, index: np.ndarray, progress: Progress = quiet) -> None:
        """Download and decode these images of a pool before anything else begins."""
        ...

    def load(self, pool: str, index: np.ndarray) -> Images:
        """The images at `index`, int64 (N,), of a pool. Raises DataError for files that are
        missing or damaged.
        """
        ...


@runtime_checkable
class WithTriggered(Protocol):
    """A data set that has images with a trigger of its own, whatever the attack says."""

    def triggered(self) -> tuple[Images, Tensor] | None:
        """The images with their true classes, and the class that the attacker wants for each,
        int64 (N,); None where it has none after all.
        """
        ...
