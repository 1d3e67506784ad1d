"""Your own images: one folder per class, in the folder `folder` of the data (`NGF_DATA`).

Either the folders of the classes lie there themselves, and of each class 60 % of the images are for
training, 20 % for the defender and 20 % for the test; or there are train and test with a folder a
class in both, and a quarter of the training images goes to the defender. A file dataset.json beside
them gives the size and the color that all images are brought to, and which classes survive a mirror
(see `ngf.data.shared.settings`); without it they must be alike.
"""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from ngf.data.images import DataError, Images
from ngf.data.shared.decoded import BadFiles, refuse
from ngf.data.shared.folders import (
    Decoding,
    Files,
    FolderSet,
    Stamp,
    check_counts,
    class_folders,
    divide,
    each,
    find_files,
    folder_set,
)
from ngf.data.shared.settings import NAME as SETTINGS
from ngf.data.shared.settings import SIZES, Settings
from ngf.places import data_dir
from ngf.progress import Progress, quiet

_ADVICE = (
    "Put a folder of images for each class there, or folders train and test that hold one for each "
    f'class. A file {SETTINGS} there, such as {{"size": 64, "color": "rgb", "mirror": false}}, '
    "says how images of several sizes or colors are made alike."
)
_TEST = ("test", "val")  # names of the folder of test images, the first that is there


@dataclass(frozen=True, kw_only=True)
class Folder:
    """Your own images, one folder per class."""

    title: ClassVar[str] = "Your own images"
    note: ClassVar[dict[str, Any]] = {
        "source": "your own folder",
        "license": "yours to know",
        "folder": "folder",
        "files": [["folder"]],
        "content": ["folder"],
        "advice": _ADVICE,
        "settings": f"folder/{SETTINGS}",
    }

    @cached_property
    def _set(self) -> FolderSet:
        root = data_dir() / "folder"
        if not root.is_dir():
            raise DataError(f"There is no folder {root}. {_ADVICE}")
        settings = Settings.read(root)
        inside = class_folders(root)
        if "train" in inside or set(inside) & set(_TEST):
            classes, files, stamps = _by_split(root, inside)
        else:
            classes, files, stamps = _by_class(root, inside)
        unknown = (
            sorted(set(settings.mirror) - set(classes))
            if isinstance(settings.mirror, tuple)
            else []
        )
        if unknown:
            raise DataError(
                f"{root / SETTINGS}: mirror names {unknown[0]}, which is no class. "
                f"Classes: {', '.join(classes)}."
            )
        decoding = _decoding(
            root, settings, [name for part in files.values() for name in part.names], stamps
        )
        return folder_set(
            "folder",
            root,
            files,
            classes,
            settings.survives_flip(classes, default=False),
            decoding,
            *stamps,
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


def _by_class(root: Path, classes: list[str]) -> tuple[list[str], dict[str, Files], list[Stamp]]:
    every, stamp = find_files(root, classes)
    check_counts(
        root, every.labels, classes, 10, "6 for training, 2 for the defender, 2 for the test"
    )
    parts = divide(every.labels, (0.6, 0.2, 0.2))
    files = {
        pool: every.take(rows)
        for pool, rows in zip(("train", "holdout", "test"), parts, strict=True)
    }
    return classes, files, [stamp]


def _by_split(root: Path, inside: list[str]) -> tuple[list[str], dict[str, Files], list[Stamp]]:
    test_name = next((name for name in _TEST if name in inside), None)
    if "train" not in inside or test_name is None:
        there, lacking = (test_name, "train") if test_name else ("train", "test")
        raise DataError(
            f"{root} has a folder {there} but none called {lacking}. Add {lacking} with the same "
            f"classes, or move the folders of the classes out of {there} into {root}: they are "
            "then divided for you."
        )
    classes, others = class_folders(root / "train"), class_folders(root / test_name)
    if classes != others:
        raise DataError(
            f"{root / 'train'} has the classes {', '.join(classes) or '(none)'}, but "
            f"{root / test_name} has {', '.join(others) or '(none)'}. Both need the same folders."
        )
    train, train_stamp = find_files(root, [f"train/{name}" for name in classes])
    test, test_stamp = find_files(root, [f"{test_name}/{name}" for name in classes])
    check_counts(root / "train", train.labels, classes, 8, "6 for training, 2 for the defender")
    check_counts(root / test_name, test.labels, classes, 2, "for the test")
    kept, apart = divide(train.labels, (0.75, 0.25))
    return (
        classes,
        {"train": train.take(kept), "holdout": train.take(apart), "test": test},
        [train_stamp, test_stamp],
    )


@functools.lru_cache(maxsize=4)  # the same set is built anew for each part of a run
def _look(
    root: Path, names: tuple[str, ...], stamps: tuple[Stamp, ...]
) -> list[tuple[tuple[int, int], str]]:
    """Size (width, height) and color mode of each file. Raises DataError when some are no
    images.
    """
    seen: list[tuple[tuple[int, int], str]] = [((0, 0), "")] * len(names)

    def look(k: int) -> None:
        with Image.open(root / names[k]) as image:
            seen[k] = image.size, image.mode

    try:
        each(look, names)
    except BadFiles as error:
        raise refuse(root, error.files) from error
    return seen


def _decoding(root: Path, settings: Settings, names: list[str], stamps: list[Stamp]) -> Decoding:
    """The size and color of the images: what the settings say, else what all of them have in
    common.
    """
    seen = _look(root, tuple(names), tuple(stamps))
    size, mode = settings.size, settings.mode
    if size is None:
        found = Counter(f"{width}x{height}" for (width, height), _ in seen)
        width, height = seen[0][0]
        if len(found) > 1 or width != height or not SIZES[0] <= width <= SIZES[1]:
            raise DataError(
                f"The images in {root} are {_most(found)}; they must be squares of one size from "
                f'{SIZES[0]} to {SIZES[1]} pixels. To have them resized, put {{"size": 64}} into '
                f"{root / SETTINGS}."
            )
        size = width
    if mode is None:
        found = Counter(mode for _, mode in seen)
        (mode, count), *_ = found.most_common()
        if count < len(names) or mode not in ("RGB", "L"):
            raise DataError(
                f"The images in {root} have the color modes {_most(found)}; they must all be "
                "RGB or all gray (L). To have them converted, put "
                f'{{"color": "rgb"}} or {{"color": "gray"}} into '
                f"{root / SETTINGS}."
            )
    return Decoding(size, mode, upright=True)


def _most(found: Counter[str]) -> str:
    """`64x64 (120), 20x30 (7) and 12 others`: the most frequent ones first."""
    first = ", ".join(f"{name} ({count:,})" for name, count in found.most_common(3))
    return first + (f" and {len(found) - 3} others" if len(found) > 3 else "")
