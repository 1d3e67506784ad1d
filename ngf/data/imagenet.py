"""ImageNet, the 1,000 classes of ILSVRC 2012 (Russakovsky et al. 2015, arXiv 1409.0575).

Read from train/<id>/*.JPEG and val/<id>/*.JPEG; any part of the classes will do. The shorter side
is made `SIZE` pixels long and the middle square is cut out. Only what is asked for is decoded,
once, into the cache. The official test images have no labels; as in the literature, the validation
images are the test pool here.
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
    FolderSet,
    check_counts,
    class_folders,
    divide,
    find_files,
    folder_set,
    unused,
)
from ngf.data.shared.settings import NAME as SETTINGS
from ngf.data.shared.settings import Settings
from ngf.outside.listing import text_of
from ngf.places import data_dir
from ngf.progress import Progress, quiet

SIZE = 64  # pixels on a side
_NUM_HOLDOUT = (
    10_000  # training images that are set apart, at most; a tenth of them where there are few
)
_ADVICE = (
    "Put the training images there as train/<id>/*.JPEG and the validation images as "
    "val/<id>/*.JPEG, one folder a class (image-net.org gives them to those who register). The "
    "same folders of classes must be in both."
)


@dataclass(frozen=True, kw_only=True)
class ImageNet:
    """ImageNet: photographs of 1,000 classes, by default at 64x64; read from disk, not
    downloaded.
    """

    title: ClassVar[str] = "ImageNet"
    note: ClassVar[dict[str, Any]] = {
        "num_classes": 1000,
        "shape": [3, SIZE, SIZE],
        "pools": {"train": 1_271_167, "holdout": _NUM_HOLDOUT, "test": 50_000},
        "source": "ILSVRC 2012, image-net.org",
        "license": "research and teaching, not commercial use",
        "folder": "imagenet",
        "files": [["imagenet/train"], ["imagenet/val"]],
        "advice": _ADVICE,
        "settings": f"imagenet/{SETTINGS}",
    }

    @cached_property
    def _set(self) -> FolderSet:
        root = data_dir() / "imagenet"
        for part in ("train", "val"):
            if not (root / part).is_dir():
                raise DataError(
                    f"ImageNet was looked for in {root}, but there is no {part} in it. {_ADVICE}"
                )
        settings = Settings.read(root)
        ids, others = class_folders(root / "train"), class_folders(root / "val")
        if ids != others:
            different = sorted(set(ids) ^ set(others))
            raise DataError(
                f"{root / 'train'} has {len(ids):,} folders of classes and {root / 'val'} has "
                f"{len(others):,}; {', '.join(different[:3])} and so on are in one of them only. "
                f"{_ADVICE}"
            )
        train, train_stamp = find_files(root, [f"train/{name}" for name in ids])
        test, test_stamp = find_files(root, [f"val/{name}" for name in ids])
        check_counts(root / "train", train.labels, ids, 10, "9 for training, 1 for the defender")
        check_counts(root / "val", test.labels, ids, 1, "for the test")
        share = min(0.1, _NUM_HOLDOUT / len(train.labels))
        kept, apart = divide(train.labels, (1 - share, share))
        # The test images in random order: a part of them then is of all classes, and so is each
        # part of the cache.
        (order,) = divide(test.labels, (1.0,))
        files = {"train": train.take(kept), "holdout": train.take(apart), "test": test.take(order)}
        classes = _names(root, ids)
        return folder_set(
            "imagenet",
            root,
            files,
            classes,
            settings.survives_flip(classes, default=True),
            Decoding(settings.size or SIZE, settings.mode or "RGB"),
            train_stamp,
            test_stamp,
            left_out=[
                *unused(root, "train", ids),
                *unused(root, "val", ids),
                *train.left_out,
                *test.left_out,
            ],
        )

    @property
    def facts(self) -> dict[str, Any]:
        return self._set.facts

    def prepare(self, pool: str, index: np.ndarray, progress: Progress = quiet) -> None:
        """Decode the images `index` of `pool`, where that was not done before."""
        self._set.prepare(pool, index, progress)

    def load(self, pool: str, index: np.ndarray) -> Images:
        """Images `index` of `pool` (train, holdout or test)."""
        return self._set.load(pool, index)


def _names(root: Path, ids: list[str]) -> list[str]:
    """The first name of each id by LOC_synset_mapping.txt or words.txt, where one of them is
    there, else the id.
    """
    for name in ("LOC_synset_mapping.txt", "words.txt"):
        if (root / name).is_file():
            try:
                lines = text_of(root / name).splitlines()
            except (OSError, ValueError) as error:
                raise DataError(
                    f"{root / name} cannot be read ({error}). Put a good copy there, or take it "
                    "away: the classes are then called by their ids."
                ) from error
            pairs = (line.split(maxsplit=1) for line in lines)
            words = {pair[0]: pair[1].split(",")[0].strip() for pair in pairs if len(pair) == 2}
            return [words.get(wnid, wnid) for wnid in ids]
    return ids
