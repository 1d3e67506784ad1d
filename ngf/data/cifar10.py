"""CIFAR-10 (Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images"), 32x32.

Downloaded, or found in `NGF_DATA`, and checked by torchvision: every file against its MD5 sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torchvision.datasets import CIFAR10 as TorchvisionCIFAR10

from ngf.data.images import DataError, Images
from ngf.data.shared.from_torchvision import download, load_arrays
from ngf.places import data_dir
from ngf.progress import Progress, quiet

_FOLDER = "cifar-10-batches-py"
_FILES = {"train": [f"data_batch_{k}" for k in range(1, 6)], "test": ["test_batch"]}
_ADVICE = (
    "Put the folder cifar-10-batches-py of cifar-10-python.tar.gz "
    "(https://www.cs.toronto.edu/~kriz/cifar.html) there: data_batch_1 to data_batch_5, "
    "test_batch and batches.meta."
)


@dataclass(frozen=True, kw_only=True)
class CIFAR10:
    """CIFAR-10: photographs of 10 classes at 32x32; found on disk or downloaded (170 MB)."""

    title: ClassVar[str] = "CIFAR-10"
    facts: ClassVar[dict[str, Any]] = {
        "classes": [
            "airplane",
            "automobile",
            "bird",
            "cat",
            "deer",
            "dog",
            "frog",
            "horse",
            "ship",
            "truck",
        ],
        "shape": [3, 32, 32],
        "pools": {"train": 45_000, "holdout": 5_000, "test": 10_000},
        "survives_flip": [True] * 10,
    }
    note: ClassVar[dict[str, Any]] = {
        "source": "University of Toronto, https://www.cs.toronto.edu/~kriz/cifar.html",
        "license": "none stated by its authors",
        "folder": _FOLDER,
        "download_mb": 170,
        "advice": _ADVICE,
        "files": [
            [f"{_FOLDER}/{name}"] for name in (*_FILES["train"], *_FILES["test"], "batches.meta")
        ],
    }

    def prepare(self, pool: str, index: np.ndarray, progress: Progress = quiet) -> None:
        """Download the files if they are missing."""
        root = data_dir()
        files = [root / place for (place,) in self.note["files"]]
        download(
            self.title,
            lambda: TorchvisionCIFAR10(str(root), download=True),
            files,
            root / TorchvisionCIFAR10.filename,
            self.note["download_mb"],
            _ADVICE,
            progress,
        )

    def load(self, pool: str, index: np.ndarray) -> Images:
        """Images `index` of `pool` (train, holdout or test)."""
        self.prepare(pool, index)
        split = "test" if pool == "test" else "train"
        return load_arrays(
            "cifar10",
            self.facts,
            pool,
            index,
            [data_dir() / _FOLDER / name for name in _FILES[split]],
            lambda: _read(split),
        )


def _read(split: str) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (N, 3, 32, 32) and int64 (N,) of `train` or `test`."""
    try:
        found = TorchvisionCIFAR10(str(data_dir()), train=split == "train")
    except (OSError, RuntimeError, ValueError, KeyError, EOFError) as error:
        raise DataError(
            f"The files in {data_dir() / _FOLDER} are damaged ({error}). Delete the folder and "
            f"start again, or put a good one in its place. {_ADVICE}"
        ) from error
    return np.ascontiguousarray(found.data.transpose(0, 3, 1, 2)), np.array(found.targets, np.int64)
