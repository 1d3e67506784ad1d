"""Tiny ImageNet (Le, Yang 2015, Stanford CS231N): 200 classes of ImageNet at 64x64.

Its own layout: train/<id>/images/*.JPEG, and all validation images in one folder, val/images, whose
classes are in val/val_annotations.txt (file, id and box, separated by tabs). wnids.txt lists the
ids, words.txt gives their names. The test images of the archive have no labels; as in the
literature, the validation images are the test pool here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ngf.data.images import DataError, Images
from ngf.data.shared.folders import (
    Decoding,
    Files,
    FolderSet,
    Stamp,
    check_counts,
    divide,
    find_files,
    folder_set,
)
from ngf.outside.listing import text_of
from ngf.places import data_dir
from ngf.progress import Progress, quiet

SIZE = 64  # pixels on a side
_HOLDOUT = 0.1  # share of the training images that is set apart, from each class
_ADVICE = (
    "Download tiny-imagenet-200.zip (237 MB) from http://cs231n.stanford.edu and unpack it there, "
    "so that wnids.txt, words.txt, train and val lie in that folder."
)


@dataclass(frozen=True, kw_only=True)
class TinyImageNet:
    """Tiny ImageNet: 200 classes of photographs at 64x64; read from disk, not downloaded."""

    title: ClassVar[str] = "Tiny ImageNet"
    note: ClassVar[dict[str, Any]] = {
        "num_classes": 200,
        "shape": [3, SIZE, SIZE],
        "pools": {"train": 90_000, "holdout": 10_000, "test": 10_000},
        "source": "Stanford CS231N, http://cs231n.stanford.edu; a part of ImageNet",
        "license": "as ImageNet: research and teaching, not commercial use",
        "folder": "tiny-imagenet-200",
        "files": [
            [f"tiny-imagenet-200/{name}"]
            for name in ("wnids.txt", "train", "val/val_annotations.txt")
        ],
        "advice": _ADVICE,
    }

    @cached_property
    def _set(self) -> FolderSet:
        root = data_dir() / "tiny-imagenet-200"
        ids = [line.strip() for line in _lines(root, "wnids.txt") if line.strip()]
        missing = [wnid for wnid in ids if not (root / "train" / wnid / "images").is_dir()]
        if missing:
            raise DataError(
                f"{len(missing)} of the {len(ids)} folders of classes are missing in "
                f"{root / 'train'}: {', '.join(missing[:3])}. {_ADVICE}"
            )
        train, train_stamp = find_files(root, [f"train/{wnid}/images" for wnid in ids])
        check_counts(root / "train", train.labels, ids, 10, "9 for training, 1 for the defender")
        kept, apart = divide(train.labels, (1 - _HOLDOUT, _HOLDOUT))
        test, test_stamp = self._test(root, ids)
        files = {"train": train.take(kept), "holdout": train.take(apart), "test": test}
        return folder_set(
            "tiny_imagenet",
            root,
            files,
            _names(root, ids),
            [True] * len(ids),
            Decoding(SIZE),
            train_stamp,
            test_stamp,
            left_out=[*train.left_out, *test.left_out],
        )

    @staticmethod
    def _test(root: Path, ids: list[str]) -> tuple[Files, Stamp]:
        label = {wnid: k for k, wnid in enumerate(ids)}
        rows = [
            line.split("\t") for line in _lines(root, "val/val_annotations.txt") if line.strip()
        ]
        wrong = [row for row in rows if len(row) < 2 or row[1] not in label]
        if wrong or not rows:
            raise DataError(
                f"{root / 'val' / 'val_annotations.txt'} should give a file and one of the ids of "
                f"wnids.txt in each line, separated by tabs; {len(wrong)} of {len(rows)} lines do "
                f"not. {_ADVICE}"
            )
        found, stamp = find_files(root, ["val/images"])
        return Files(
            [f"val/images/{row[0]}" for row in rows],
            np.array([label[row[1]] for row in rows], np.int64),
            found.left_out,
        ), stamp

    @property
    def facts(self) -> dict[str, Any]:
        return self._set.facts

    def prepare(self, pool: str, index: np.ndarray, progress: Progress = quiet) -> None:
        """Decode the images `index` of `pool`, where that was not done before."""
        self._set.prepare(pool, index, progress)

    def load(self, pool: str, index: np.ndarray) -> Images:
        """Images `index` of `pool` (train, holdout or test)."""
        return self._set.load(pool, index)


def _lines(root: Path, name: str) -> list[str]:
    try:
        return text_of(root / name).splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"{root / name} cannot be read ({error}). {_ADVICE}") from error


def _names(root: Path, ids: list[str]) -> list[str]:
    """The first name that words.txt gives each id; an id that it does not know stays as it is."""
    pairs = (line.partition("\t") for line in _lines(root, "words.txt"))
    words = {wnid: names.split(",")[0].strip() for wnid, _, names in pairs}
    return [words.get(wnid, wnid) for wnid in ids]
