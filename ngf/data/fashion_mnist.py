"""Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, arXiv 1708.07747), padded from 28x28 to 32x32.

Read through torchvision from the standard IDX files, plain or gzipped, where they are: under
`NGF_DATA`, or where the Debian package `dataset-fashion-mnist` puts them. Otherwise torchvision
downloads them.
"""

from __future__ import annotations

import gzip
import os
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torchvision.datasets import FashionMNIST as TorchvisionFashionMNIST
from torchvision.datasets.mnist import read_image_file, read_label_file

from ngf.data.images import DataError, Images
from ngf.data.shared.from_torchvision import rows_of
from ngf.places import cache_dir, data_dir
from ngf.progress import Progress, quiet

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", 60_000),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", 10_000),
}
_NUM_HOLDOUT = 6_000  # the last tenth of the training images


@dataclass(frozen=True, kw_only=True)
class FashionMNIST:
    """Fashion-MNIST: gray pictures of clothes, 10 classes; found on disk or downloaded (30 MB)."""

    title: ClassVar[str] = "Fashion-MNIST"
    facts: ClassVar[dict[str, Any]] = {
        "classes": [
            "T-shirt",
            "trouser",
            "pullover",
            "dress",
            "coat",
            "sandal",
            "shirt",
            "sneaker",
            "bag",
            "ankle boot",
        ],
        "shape": [1, 32, 32],
        "pools": {"train": 60_000 - _NUM_HOLDOUT, "holdout": _NUM_HOLDOUT, "test": 10_000},
        "survives_flip": [True] * 10,
    }
    note: ClassVar[dict[str, Any]] = {
        "source": "Zalando Research, https://github.com/zalandoresearch/fashion-mnist",
        "license": "MIT",
        "folder": "FashionMNIST/raw",
        "download_mb": 30,
        "files": [
            [
                f"FashionMNIST/raw/{name}.gz",
                *(
                    f"{folder}{name}{end}"
                    for end in ("", ".gz")
                    for folder in ("FashionMNIST/raw/", "", "fashion-mnist/", f"{DEBIAN}/")
                ),
            ]
            for images, labels, _ in _FILES.values()
            for name in (images, labels)
        ],
        "advice": (
            "Put the four Fashion-MNIST files there, or install the Debian package "
            "dataset-fashion-mnist."
        ),
    }

    def prepare(self, pool: str, index: np.ndarray, progress: Progress = quiet) -> None:
        """Nothing: its files are small and read at once."""

    def load(self, pool: str, index: np.ndarray) -> Images:
        """Images `index` of `pool` (train, holdout or test)."""
        images, labels = read_split("test" if pool == "test" else "train")
        chosen = torch.from_numpy(rows_of(pool, index, self.facts["pools"]))
        return Images(F.pad(images[chosen], (2, 2, 2, 2)).unsqueeze(1), labels[chosen])


def read_split(split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 (N, 28, 28) and int64 (N,) of `train` or `test`. Raises DataError naming the file."""
    image_name, label_name, count = _FILES[split]
    images = _read(image_name, read_image_file)
    labels = _read(label_name, read_label_file)
    if (
        images.shape != (count, 28, 28)
        or labels.shape != (count,)
        or not 0 <= labels.min() <= labels.max() < 10
    ):
        raise DataError(
            f"{image_name} and {label_name} should hold {count:,} images of 28x28 and labels 0-9, "
            f"but hold {tuple(images.shape)} and {tuple(labels.shape)}. "
            f"{_advice(_locate(image_name))}"
        )
    return images, labels


def _read(name: str, reader: Callable[[str], torch.Tensor]) -> torch.Tensor:
    path = _locate(name)
    try:
        return reader(str(_unpacked(path)))
    except (
        OSError,
        EOFError,
        ValueError,
        AssertionError,
        RuntimeError,
        KeyError,
        zlib.error,
    ) as error:
        raise DataError(
            f"{path} is damaged ({error or type(error).__name__}). {_advice(path)}"
        ) from error


def _advice(path: Path) -> str:
    return f"Delete {path} and start again, or put a good copy in its place."


def _locate(name: str) -> Path:
    """The file, plain or .gz, from the first place that has it; downloads all four otherwise."""
    raw = data_dir() / "FashionMNIST" / "raw"
    for folder in (raw, data_dir(), data_dir() / "fashion-mnist", DEBIAN):
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    try:
        TorchvisionFashionMNIST(str(data_dir()), download=True)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{name}.gz was found neither in {raw} nor in {DEBIAN}, and the download failed "
            f"({error}). Put the four Fashion-MNIST files into {raw}, or install the Debian "
            "package dataset-fashion-mnist."
        ) from error
    return raw / name


def _unpacked(path: Path) -> Path:
    """torchvision's reader wants plain files; a .gz is unpacked into the cache once."""
    if path.suffix != ".gz":
        return path
    about = path.stat()
    plain = cache_dir() / "fashion_mnist" / f"{path.stem}-{about.st_size}-{about.st_mtime_ns}"
    if not plain.exists():
        plain.parent.mkdir(parents=True, exist_ok=True)
        temporary = plain.with_suffix(f".{os.getpid()}.tmp")
        with gzip.open(path) as packed, temporary.open("wb") as file:
            shutil.copyfileobj(packed, file)
        os.replace(temporary, plain)
    return plain
