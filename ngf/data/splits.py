"""Who sees which images: training, the defender's clean set, validation, test.

A data set has three pools that never mix. `train` is for training; `holdout` gives the defender's
clean images and, apart from them, a clean validation set for any selection; `test` is for the final
numbers only. The seed chooses within a pool, so a defender's images were in no training run,
whatever its seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ngf.catalogue import build
from ngf.config import REVISION, Choice, num_validation
from ngf.data.base import DataSet
from ngf.data.images import DataError, Images
from ngf.progress import Progress, quiet

# Where images are made in blocks, training images are chosen among so many (all of the pool where
# more are asked for): a smaller choice is the beginning of a larger one, and no more are made.
_TRAIN_CHOICE = 10_000


@dataclass(frozen=True)
class Splits:
    """The splits of `source` (a data plug-in) under `seed`; each is loaded when first asked for.

    revision: of the specification, see `ngf.config`. In the first one all seeds drew their training
        images from the same 10,000.
    """

    source: DataSet
    seed: int = 0
    num_train: int = 10_000
    num_clean: int = 500
    revision: int = REVISION

    @property
    def classes(self) -> list[str]:
        return list(self.source.facts["classes"])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.source.facts["shape"]
        return channels, height, width

    @cached_property
    def train(self) -> Images:
        """`num_train` training images in an order set by the seed."""
        return self.source.load("train", self.train_index())

    @cached_property
    def clean(self) -> Images:
        """The defender's clean images."""
        size = self._pool_size("holdout") - self._num_validation
        if self.num_clean > size:
            raise DataError(
                f"{self.source.title} has {size:,} clean images for a defender, not "
                f"{self.num_clean:,}. Ask for {size:,} or fewer.{self._left_out()}"
            )
        return self.source.load(
            "holdout", self._order(self._pool_size("holdout"))[: self.num_clean]
        )

    @cached_property
    def validation(self) -> Images:
        """1,000 clean images apart from `clean` (fewer in a small set), for choosing a
        learning rate or a layer.
        """
        size = self._pool_size("holdout")
        return self.source.load("holdout", self._order(size)[size - self._num_validation :])

    @cached_property
    def test(self) -> Images:
        """The whole test set, in its own order."""
        return self.source.load("test", np.arange(self._pool_size("test")))

    def forget_train(self) -> None:
        """Give back the memory of `train`."""
        vars(self).pop("train", None)

    def prepare(self, progress: Progress = quiet) -> None:
        """Download and decode what training, test and defender need, and check that it is
        there, before any begins.
        """
        # Some are counted only after a look at all files, which says how far it is.
        self.source.prepare("train", np.arange(0), progress)
        index = {"train": self.train_index()}
        index |= {pool: np.arange(self._pool_size(pool)) for pool in ("test", "holdout")}
        for pool, rows in index.items():
            self.source.prepare(pool, rows, progress)

    @property
    def _num_validation(self) -> int:
        # of images that came with a model, all are the defender's
        kept = self.source.facts.get("validation")
        return num_validation(self._pool_size("holdout")) if kept is None else int(kept)

    def train_index(self) -> np.ndarray:
        """Places of the training images in their pool, int64 (num_train,), in the order of `train`.
        Raises DataError.
        """
        size = self._pool_size("train")
        if self.num_train > size:
            raise DataError(
                f"{self.source.title} has {size:,} training images, not {self.num_train:,}. "
                f"Ask for {size:,} or fewer.{self._left_out()}"
            )
        wanted = min(size, max(self.num_train, _TRAIN_CHOICE))
        if self.revision == 1:
            return self._order(wanted)[: self.num_train]
        block = self.source.facts.get("block", 1)
        if block == 1:
            return self._order(size)[: self.num_train]
        short = size % block > 0  # the last block, which may be among them
        first = block * self._order(-(-size // block))[: -(-wanted // block) + short]
        among = (first[:, None] + np.arange(block)).ravel()
        among = among[among < size]
        return among[self._order(len(among))][: self.num_train]

    def _left_out(self) -> str:
        said = self.source.facts.get("left_out", {}).get("said")
        return f" Of its files, {said}." if said else ""

    def _pool_size(self, pool: str) -> int:
        return int(self.source.facts["pools"][pool])

    def _order(self, size: int) -> np.ndarray:
        return np.random.default_rng(self.seed).permutation(size)


def load(
    name: str | Choice,
    *,
    seed: int = 0,
    num_train: int = 10_000,
    num_clean: int = 500,
    revision: int = REVISION,
) -> Splits:
    """The splits of data set `name`. Raises SpecError for an unknown name, DataError for bad
    files.
    """
    choice = Choice(name) if isinstance(name, str) else name
    return Splits(build("data", choice), seed, num_train, num_clean, revision)
