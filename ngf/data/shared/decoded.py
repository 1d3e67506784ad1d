"""Images that are decoded once, in parts, into the cache, and read from there by rows.

A part holds consecutive images of a pool, `PART_BYTES` and `PART_ROWS` at most, as one .npy file.
It is written under another name and renamed, so a decoding that was killed goes on with the next
part, and processes that decode the same images do not disturb each other. Of all the images of a
set, no more than one part is in memory at any time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ngf.data.images import DataError, Images, empty
from ngf.outside.listing import shown
from ngf.places import cache_dir
from ngf.progress import Progress, quiet

PART_BYTES, PART_ROWS = 16 * 2**20, 2048
_SHOWN = 3  # files that a message names


class BadFiles(Exception):
    """Files that cannot be read as images, each with the reason: `a/b.png (truncated)`."""

    def __init__(self, files: Sequence[str]) -> None:
        super().__init__(", ".join(files))
        self.files = list(files)


def refuse(root: Path, files: Sequence[str]) -> DataError:
    """The error for files that cannot be read, naming the first ones and how many there are."""
    named = ", ".join(sorted(files)[:_SHOWN]) + (
        f" and {len(files) - _SHOWN:,} more" if len(files) > _SHOWN else ""
    )
    place = shown(str(root))
    if len(files) == 1:
        return DataError(
            f"1 image in {place} cannot be read: {named}. Delete it, or put a good copy in its "
            "place."
        )
    return DataError(
        f"{len(files):,} images in {place} cannot be read: {named}. Delete them, or put good "
        "copies in their place."
    )


def cache_folder(name: str, root: Path, content: str) -> Path:
    """Where what was made of data set `name` in `root` is kept; what was made of an older
    content is deleted.
    """
    place = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:10]
    folder = cache_dir() / name / f"{place}-{content[:16]}"
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for other in folder.parent.glob(f"{place}-*"):
            if other != folder:
                shutil.rmtree(other, ignore_errors=True)  # somebody else may be at it too
    return folder


def save_array(path: Path, array: np.ndarray) -> None:
    """Write an .npy file under another name and rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.save(file, array)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def open_array(path: Path) -> np.ndarray:
    """An .npy file that stays on disk; what is read of it is in memory."""
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}). Delete it and start again.") from error


@dataclass(frozen=True)
class Pool:
    """The images of one pool of a data set.

    name: of the pool.
    folder: in the cache, for this content of the source.
    labels: int64 (N,).
    shape: (C, H, W).
    decode: decode(rows, out) fills `out`, uint8 (n, C, H, W), with the images `rows`, or raises
        BadFiles.
    """

    name: str
    root: Path
    folder: Path
    labels: np.ndarray
    shape: tuple[int, int, int]
    decode: Callable[[np.ndarray, np.ndarray], None]

    @property
    def rows_of_a_part(self) -> int:
        return max(1, min(PART_ROWS, PART_BYTES // int(np.prod(self.shape))))

    def prepare(self, index: np.ndarray, progress: Progress = quiet) -> None:
        """Decode the parts that hold the images `index`, where that was not done before."""
        wanted = np.unique(np.asarray(index) // self.rows_of_a_part)
        parts = [int(part) for part in wanted if not self._path(part).exists()]
        ranges = [
            np.arange(
                part * self.rows_of_a_part, min((part + 1) * self.rows_of_a_part, len(self.labels))
            )
            for part in parts
        ]
        done, total, bad = 0, sum(map(len, ranges)), []
        for part, rows in zip(parts, ranges, strict=True):
            progress("decoding images", done, total)
            out = np.empty((len(rows), *self.shape), np.uint8)
            try:
                self.decode(rows, out)
            except BadFiles as error:
                bad += error.files
            else:
                save_array(self._path(part), out)
            done += len(rows)
        if bad:
            raise refuse(self.root, bad)

    def load(self, index: np.ndarray) -> Images:
        """The images `index`, decoded now if they were not before."""
        index = np.asarray(index)
        self.prepare(index)
        images = empty(len(index), self.shape)
        array, parts = images.numpy(), index // self.rows_of_a_part
        for part in np.unique(parts):
            places = np.flatnonzero(parts == part)
            array[places] = open_array(self._path(part))[index[places] % self.rows_of_a_part]
        return Images(images, torch.from_numpy(self.labels[index]))

    def _path(self, part: int) -> Path:
        return self.folder / f"{self.name}-{int(part):05d}.npy"
