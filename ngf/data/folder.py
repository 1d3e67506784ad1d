"""Your own images: one folder per class, in the folder `folder` of the data (`NGF_DATA`).

Either the folders of the classes lie there themselves, and of each class 60 % of the images are for
training, 20 % for the defender and 20 % for the test; or there are train and test with a folder a
class in both, and a quarter of the training images goes to the defender. A file dataset.json beside
them gives the size and the color that all images are brought to, and which classes survive a mirror
(see `ngf.data.shared.settings`); without it they must be alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
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
    check_counts,
    class_folders,
    divide,
    find_entries,
    folder_set,
    stamped,
    unused,
)
from ngf.data.shared.settings import NAME as SETTINGS
from ngf.data.shared.settings import SIZES, Settings
from ngf.outside.listing import TEST, Entry, LeftOut, Look, look, parts_of, shown
from ngf.places import data_dir
from ngf.progress import Progress, quiet

_ADVICE = (
    "Put a folder of images for each class there, or folders train and test that hold one for each "
    f'class. A file {SETTINGS} there, such as {{"size": 64, "color": "rgb", "mirror": false}}, '
    "says how images of several sizes or colors are made alike."
)


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
        return _find(quiet)

    @property
    def facts(self) -> dict[str, Any]:
        return self._set.facts

    def prepare(self, pool: str, index: np.ndarray, progress: Progress = quiet) -> None:
        """Look at all files and decode the images `index` of `pool`, where that was not done
        before.
        """
        if "_set" not in vars(self):
            vars(self)["_set"] = _find(progress)
        self._set.prepare(pool, index, progress)

    def load(self, pool: str, index: np.ndarray) -> Images:
        """Images `index` of `pool` (train, holdout or test)."""
        return self._set.load(pool, index)


def _find(progress: Progress) -> FolderSet:
    """The data set as its files are now."""
    root = data_dir() / "folder"
    if not root.is_dir():
        raise DataError(f"There is no folder {shown(str(root))}. {_ADVICE}")
    settings = Settings.read(root)
    inside = class_folders(root)
    splits = _splits(root, inside)
    classes = class_folders(root / splits[0]) if splits else inside
    parts = [[f"{split}/{name}" for name in classes] for split in splits] or [classes]
    left_out = unused(root, "", [*(splits or classes), SETTINGS])
    for split in splits:
        left_out += unused(root, split, classes)
    entries = []
    for folders in parts:
        found, others = find_entries(root, folders)
        entries.append(found)
        left_out += others
    seen = look(root, [entry for part in entries for rows in part for entry in rows], progress)
    left_out += [what for what in seen.values() if isinstance(what, LeftOut)]
    looks = {name: what for name, what in seen.items() if isinstance(what, Look)}
    files, stamps = zip(
        *(stamped([_only(rows, looks) for rows in part], left_out) for part in entries),
        strict=True,
    )
    pools = _by_split(root, splits, classes, files) if splits else _by_class(root, classes, *files)
    names = [shown(name) for name in classes]
    if isinstance(settings.mirror, tuple) and (unknown := set(settings.mirror) - set(names)):
        raise DataError(
            f"{shown(str(root / SETTINGS))}: mirror names {shown(min(unknown))}, which is no "
            f"class. Classes: {', '.join(names)}."
        )
    return folder_set(
        "folder",
        root,
        pools,
        classes,
        settings.survives_flip(names, default=False),
        _decoding(root, settings, list(looks.values())),
        *stamps,
        left_out=left_out,
        several=[name for name, what in looks.items() if what.several],
    )


def _only(entries: Sequence[Entry], looks: Mapping[str, Look]) -> list[Entry]:
    return [entry for entry in entries if entry.name in looks]


def _by_class(root: Path, classes: list[str], every: Files) -> dict[str, Files]:
    words = "6 for training, 2 for the defender, 2 for the test"
    check_counts(root, every.labels, classes, 10, words, every.left_out)
    parts = divide(every.labels, (0.6, 0.2, 0.2))
    return {
        pool: every.take(rows)
        for pool, rows in zip(("train", "holdout", "test"), parts, strict=True)
    }


def _splits(root: Path, inside: list[str]) -> list[str]:
    """The folders of training and test images, if the owner has divided them. Raises DataError
    where one of them is missing, or holds other classes.
    """
    parts, place = parts_of(inside), shown(str(root))
    if not parts:
        return []
    if len(parts) == 1:
        there, lacking = parts[0], TEST[0] if parts == ["train"] else "train"
        raise DataError(
            f"{place} has a folder {there} but none called {lacking}. Add {lacking} with the same "
            f"classes, or move the folders of the classes out of {there} into {place}: they are "
            "then divided for you."
        )
    classes, others = (class_folders(root / part) for part in parts)
    if classes != others:
        found, other = (", ".join(map(shown, names)) or "(none)" for names in (classes, others))
        raise DataError(
            f"{shown(str(root / parts[0]))} has the classes {found}, but "
            f"{shown(str(root / parts[1]))} has {other}. Both need the same folders."
        )
    return parts


def _by_split(
    root: Path, splits: Sequence[str], classes: list[str], files: Sequence[Files]
) -> dict[str, Files]:
    train, test = files
    for split, part, least, words in (
        (splits[0], train, 8, "6 for training, 2 for the defender"),
        (splits[1], test, 2, "for the test"),
    ):
        check_counts(root / split, part.labels, classes, least, words, part.left_out)
    kept, apart = divide(train.labels, (0.75, 0.25))
    return {"train": train.take(kept), "holdout": train.take(apart), "test": test}


def _decoding(root: Path, settings: Settings, seen: Sequence[Look]) -> Decoding:
    """The size and color of the images: what the settings say, else what all of them have in
    common.
    """
    place, file = shown(str(root)), shown(str(root / SETTINGS))
    size, mode = settings.size, settings.mode
    if size is None:
        found = Counter(f"{what.width}x{what.height}" for what in seen)
        width, height = seen[0].width, seen[0].height
        if len(found) > 1 or width != height or not SIZES[0] <= width <= SIZES[1]:
            raise DataError(
                f"The images in {place} are {_most(found)}; they must be squares of one size from "
                f'{SIZES[0]} to {SIZES[1]} pixels. To have them resized, put {{"size": 64}} into '
                f"{file}."
            )
        size = width
    if mode is None:
        found = Counter(what.mode for what in seen)
        (mode, count), *_ = found.most_common()
        if count < len(seen) or mode not in ("RGB", "L"):
            raise DataError(
                f"The images in {place} have the color modes {_most(found)}; they must all be "
                "RGB or all gray (L). To have them converted, put "
                f'{{"color": "rgb"}} or {{"color": "gray"}} into '
                f"{file}."
            )
    return Decoding(size, mode)


def _most(found: Counter[str]) -> str:
    """`64x64 (120), 20x30 (7) and 12 others`: the most frequent ones first."""
    first = ", ".join(f"{name} ({count:,})" for name, count in found.most_common(3))
    return first + (f" and {len(found) - 3} others" if len(found) > 3 else "")
