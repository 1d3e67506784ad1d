"""Street View House Numbers, cropped digits (Netzer et al. 2011, "Reading Digits in Natural
Images"), 32x32.

Downloaded, or found in `NGF_DATA`, and checked by torchvision: every file against its MD5 sum. The
files are of MATLAB, which torchvision reads with SciPy; they call the digit 0 class 10, here it is
class 0. The 531,131 extra images are not used.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torchvision.datasets import SVHN as TorchvisionSVHN  # noqa: N811  its name

from ngf.data.images import DataError, Images
from ngf.data.shared.from_torchvision import download, load_arrays
from ngf.places import data_dir
from ngf.progress import Progress, quiet

_FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}
_ADVICE = "Put train_32x32.mat and test_32x32.mat of http://ufldl.stanford.edu/housenumbers there."


@dataclass(frozen=True, kw_only=True)
class SVHN:
    """SVHN: photographed digits of house numbers, 10 classes at 32x32; found on disk or
    downloaded (246 MB).
    """

    title: ClassVar[str] = "SVHN (house numbers)"
    facts: ClassVar[dict[str, Any]] = {
        "classes": list("0123456789"),
        "shape": [3, 32, 32],
        "pools": {"train": 66_257, "holdout": 7_000, "test": 26_032},
        # The mirror image of another digit is none.
        "survives_flip": [digit in "018" for digit in "0123456789"],
    }
    note: ClassVar[dict[str, Any]] = {
        "source": "Stanford and Google, http://ufldl.stanford.edu/housenumbers",
        "license": "for use that is not commercial",
        "folder": "",
        "download_mb": 246,
        "advice": _ADVICE,
        "files": [[name] for name in _FILES.values()],
    }

    def prepare(self, pool: str, index: np.ndarray, progress: Progress = quiet) -> None:
        """Download the file of the pool if it is missing."""
        split, root = "test" if pool == "test" else "train", data_dir()
        size = {"train": 182, "test": 64}[split]
        download(
            self.title,
            lambda: TorchvisionSVHN(str(root), split, download=True),
            [root / _FILES[split]],
            root / _FILES[split],
            size,
            _ADVICE,
            progress,
        )

    def load(self, pool: str, index: np.ndarray) -> Images:
        """Images `index` of `pool` (train, holdout or test)."""
        self.prepare(pool, index)
        split = "test" if pool == "test" else "train"
        return load_arrays(
            "svhn", self.facts, pool, index, [data_dir() / _FILES[split]], lambda: _read(split)
        )


def _read(split: str) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (N, 3, 32, 32) and int64 (N,) of `train` or `test`."""
    path = data_dir() / _FILES[split]
    try:
        found = TorchvisionSVHN(str(data_dir()), split)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, zlib.error) as error:
        raise DataError(
            f"{path} is damaged ({error}). Delete it and start again, or put a good copy in its "
            "place."
        ) from error
    return np.ascontiguousarray(found.data), found.labels
