"""German Traffic Sign Recognition Benchmark (Stallkamp et al. 2012), 43 classes, resized to 32x32.

Downloaded by torchvision, which checks the archives, or found in `NGF_DATA`. As torchvision has it,
the training images are the 26,640 of the competition of 2011 and not the 39,209 that were published
later; the 12,630 test images are the same. The whole picture is squeezed into the square: it is not
cropped to the box around the sign (the published pictures leave about a tenth of the sign's size
around it).

Thirty pictures in a row show the same sign as a car drives towards it. So whole rows are set apart
for the defender, who otherwise had pictures that are all but in the training set, and every class
has one of them there.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torchvision.datasets import GTSRB as TorchvisionGTSRB  # noqa: N811  its name

from ngf.data.images import DataError, Images
from ngf.data.shared.folders import Decoding, Files, FolderSet, Stamp, find_files, folder_set
from ngf.data.shared.from_torchvision import download
from ngf.outside.listing import text_of
from ngf.places import data_dir
from ngf.progress import Progress, quiet

SIZE = 32  # pixels on a side
_CLASSES = [
    *(f"speed limit {number}" for number in (20, 30, 50, 60, 70, 80)),
    "end of speed limit 80",
    "speed limit 100",
    "speed limit 120",
    "no passing",
    "no passing over 3.5 t",
    "right of way at the next crossing",
    "priority road",
    "yield",
    "stop",
    "no vehicles",
    "no vehicles over 3.5 t",
    "no entry",
    "general caution",
    "dangerous curve left",
    "dangerous curve right",
    "double curve",
    "bumpy road",
    "slippery road",
    "road narrows on the right",
    "road work",
    "traffic signals",
    "pedestrians",
    "children crossing",
    "bicycles crossing",
    "beware of ice and snow",
    "wild animals crossing",
    "end of all limits",
    "turn right ahead",
    "turn left ahead",
    "ahead only",
    "straight or right",
    "straight or left",
    "keep right",
    "keep left",
    "roundabout",
    "end of no passing",
    "end of no passing over 3.5 t",
]
_MIRRORS = (
    "right of way at the next crossing",
    "priority road",
    "yield",
    "no vehicles",
    "no entry",
    "general caution",
    "bumpy road",
    "traffic signals",
    "beware of ice and snow",
    "ahead only",
)
_ADVICE = (
    "Unpack GTSRB-Training_fixed.zip, GTSRB_Final_Test_Images.zip and GTSRB_Final_Test_GT.zip of "
    "https://benchmark.ini.rub.de there, so that GTSRB/Training, GTSRB/Final_Test/Images and "
    "GT-final_test.csv lie in that folder."
)


@dataclass(frozen=True, kw_only=True)
class GTSRB:
    """GTSRB: photographed German traffic signs, 43 classes at 32x32; found on disk or
    downloaded (276 MB).
    """

    title: ClassVar[str] = "GTSRB (German traffic signs)"
    facts: ClassVar[dict[str, Any]] = {
        "classes": _CLASSES,
        "shape": [3, SIZE, SIZE],
        "pools": {"train": 23_640, "holdout": 3_000, "test": 12_630},
        "survives_flip": [name in _MIRRORS for name in _CLASSES],
    }
    note: ClassVar[dict[str, Any]] = {
        "source": "Institut für Neuroinformatik, Ruhr-Universität Bochum, https://benchmark.ini.rub.de",
        "license": "none stated by its authors; free for research",
        "folder": "gtsrb",
        "download_mb": 276,
        "files": [
            ["gtsrb/GTSRB/Training"],
            ["gtsrb/GTSRB/Final_Test/Images"],
            ["gtsrb/GT-final_test.csv"],
        ],
        "advice": _ADVICE,
    }

    def prepare(self, pool: str, index: np.ndarray, progress: Progress = quiet) -> None:
        """Download what is missing, and decode the images `index` of `pool`, where that was
        not done before.
        """
        self._fetch(progress)
        self._set.prepare(pool, index, progress)

    def load(self, pool: str, index: np.ndarray) -> Images:
        """Images `index` of `pool` (train, holdout or test)."""
        self._fetch(quiet)
        return self._set.load(pool, index)

    def _fetch(self, progress: Progress) -> None:
        root = data_dir()
        training, images, truth = (root / place for (place,) in self.note["files"])
        download(
            f"{self.title}, training images",
            lambda: TorchvisionGTSRB(str(root), "train", download=True),
            [training],
            root / "gtsrb" / "GTSRB-Training_fixed.zip",
            187,
            _ADVICE,
            progress,
        )

        download(
            f"{self.title}, test images",
            lambda: TorchvisionGTSRB(str(root), "test", download=True),
            [images, truth],
            root / "gtsrb" / "GTSRB_Final_Test_Images.zip",
            89,
            _ADVICE,
            progress,
        )

    @cached_property
    def _set(self) -> FolderSet:
        root, pools = data_dir() / "gtsrb", self.facts["pools"]
        folders = [f"GTSRB/Training/{label:05d}" for label in range(len(_CLASSES))]
        missing = [folder for folder in folders if not (root / folder).is_dir()]
        if missing:
            raise DataError(
                f"{len(missing)} of the {len(folders)} folders of classes are missing in {root}: "
                f"{', '.join(missing[:3])}. Delete {root / 'GTSRB/Training'} and start again. "
                f"{_ADVICE}"
            )
        training, train_stamp = find_files(root, folders)
        test, test_stamp = _test(root)
        for split, found, wanted in (
            ("training", training, pools["train"] + pools["holdout"]),
            ("test", test, pools["test"]),
        ):
            if len(found.names) != wanted:
                raise DataError(
                    f"{root} should hold {wanted:,} {split} images, but holds "
                    f"{len(found.names):,}. Delete it and start again, or put a good copy in its "
                    f"place. {_ADVICE}"
                )
        order = by_rows(training)
        # In random order: a part of the training images is then of all classes and rows.
        kept = np.random.default_rng(0).permutation(order[: pools["train"]])
        files = {
            "train": training.take(kept),
            "holdout": training.take(order[pools["train"] :]),
            "test": test,
        }
        return folder_set(
            "gtsrb",
            root,
            files,
            _CLASSES,
            self.facts["survives_flip"],
            Decoding(SIZE, squeeze=True),
            train_stamp,
            test_stamp,
        )


def by_rows(files: Files) -> np.ndarray:
    """Order of the images in which the last ones are whole rows of pictures of one sign, with some
    of each class.

    A file is called 00004_00012.ppm, picture 12 of row 4 of its class. A fixed order, whatever the
    seed.
    """
    rows = [name.rpartition("_")[0] for name in files.names]
    distinct, row = np.unique(rows, return_inverse=True)
    label = np.zeros(len(distinct), np.int64)
    label[row] = files.labels
    rng = np.random.default_rng(0)
    tie = rng.random(len(distinct))
    place = np.empty(
        len(distinct)
    )  # of a row among those of its class, in (0, 1]: each class has a last one
    for k in np.unique(label):
        same = np.flatnonzero(label == k)
        place[same[np.argsort(tie[same])]] = np.arange(1, len(same) + 1) / len(same)
    rank = np.empty(len(distinct), np.int64)
    rank[np.lexsort((tie, place))] = np.arange(len(distinct))
    return np.argsort(rank[row], kind="stable")


def _test(root: Path) -> tuple[Files, Stamp]:
    """The test images with the classes that GT-final_test.csv gives them."""
    path = root / "GT-final_test.csv"
    try:
        lines = text_of(path).splitlines(keepends=True)
        rows = [
            (row["Filename"], int(row["ClassId"])) for row in csv.DictReader(lines, delimiter=";")
        ]
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise DataError(
            f"{path} should give Filename and ClassId of each test image, separated by semicolons "
            f"({type(error).__name__}: {error}). Delete it and start again. {_ADVICE}"
        ) from error
    labels = np.array([label for _, label in rows], np.int64)
    if len(rows) == 0 or labels.min() < 0 or labels.max() >= len(_CLASSES):
        raise DataError(
            f"{path} should give classes from 0 to {len(_CLASSES) - 1}, but does not. Delete it "
            f"and start again. {_ADVICE}"
        )
    _, stamp = find_files(root, ["GTSRB/Final_Test/Images"])
    return Files([f"GTSRB/Final_Test/Images/{name}" for name, _ in rows], labels), stamp
