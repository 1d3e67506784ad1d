"""Data sets of image files, one folder per class: found, split into pools, decoded by workers.

Which images are on disk is looked up when `facts` is first asked for. Decoded images are kept under
names, sizes and times of the files, so a file that changes is decoded again.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import pil_to_tensor

from ngf.data.images import DataError, Images
from ngf.data.shared.decoded import BadFiles, Pool, cache_folder
from ngf.outside import listing, pictures
from ngf.outside.listing import WORKERS, Entry, LeftOut, shown
from ngf.outside.pictures import NotRead
from ngf.progress import Progress, quiet

VERSION = 1  # of what a fingerprint says; models of older releases are compared with it


@dataclass(frozen=True)
class Files:
    """Image files with their classes.

    names: relative to the root of the data set.
    labels: int64 (N,).
    left_out: what lies beside them in their folders and is no image.
    """

    names: Sequence[str]
    labels: np.ndarray
    left_out: Sequence[LeftOut] = ()

    def take(self, index: np.ndarray) -> Files:
        return Files([self.names[k] for k in index], self.labels[index])


def class_folders(root: Path) -> list[str]:
    """Names of the folders in `root`, in order; hidden ones are not counted. Raises DataError."""
    try:
        return listing.class_folders(root)
    except OSError as error:
        raise unreadable(root, error) from error


def unreadable(path: Path, error: OSError) -> DataError:
    """The error for a folder that cannot be looked into."""
    return DataError(
        f"{shown(str(path))} {pictures.why_not(error)}. Make it a folder that can be read."
    )


class Stamp(NamedTuple):
    """What tells one listing of files from another: `content` by their names and sizes,
    `times` by their changes.
    """

    content: str
    times: str


def find_files(root: Path, folders: Sequence[str]) -> tuple[Files, Stamp]:
    """The image files in `folders` (relative to `root`), labeled 0, 1, ... by folder, and
    their stamp. Raises DataError.
    """
    return stamped(*find_entries(root, folders))


def unused(root: Path, folder: str, used: Sequence[str]) -> list[LeftOut]:
    """What lies in `folder` of `root` beside what is `used`. Raises DataError."""
    try:
        rest = listing.beside(root / folder, used)
    except OSError as error:
        raise unreadable(root / folder, error) from error
    return [LeftOut(f"{folder}/{name}" if folder else name, why) for name, why in rest]


def find_entries(root: Path, folders: Sequence[str]) -> tuple[list[list[Entry]], list[LeftOut]]:
    """What seems to be an image in each of `folders`, and what does not. Raises DataError."""
    try:
        times = tuple(os.stat(root / folder).st_mtime_ns for folder in folders)
        found = _find_entries(root, tuple(folders), times)
    except OSError as error:
        raise unreadable(Path(error.filename or root), error) from error
    return found.files, found.left_out


@functools.lru_cache(maxsize=4)  # the same set is built anew for each part of a run
def _find_entries(root: Path, folders: tuple[str, ...], times: tuple[int, ...]) -> listing.Listing:
    return listing.list_files(root, folders)


def stamped(entries: Sequence[Sequence[Entry]], left_out: Sequence[LeftOut]) -> tuple[Files, Stamp]:
    """The files of each class as one list, and their stamp."""
    names, labels, content, changes = [], [], hashlib.sha256(), hashlib.sha256()
    for label, folder in enumerate(entries):
        for name, size, changed in folder:
            names.append(name)
            labels.append(label)
            content.update(os.fsencode(name) + f"\0{size}\n".encode())
            changes.update(f"{changed}\n".encode())
    stamp = Stamp(content.hexdigest(), changes.hexdigest())
    return Files(names, np.array(labels, np.int64), left_out), stamp


def divide(labels: np.ndarray, shares: Sequence[float]) -> list[np.ndarray]:
    """Rows of each share, class by class the same; a fixed shuffle, so that no seed moves an image
    to another pool.

    The shares add up to 1. Each list is in random order.
    """
    order = np.random.default_rng(0).permutation(len(labels))
    sorted_rows = order[np.argsort(labels[order], kind="stable")]
    counts = np.bincount(labels)
    rank = np.empty(len(labels), np.int64)  # of an image among those of its class
    rank[sorted_rows] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    edges = np.rint(np.outer(np.cumsum([0.0, *shares]), counts)).astype(np.int64)
    return [
        order[((rank >= low[labels]) & (rank < high[labels]))[order]]
        for low, high in zip(edges, edges[1:], strict=False)
    ]


def decode_file(
    path: Path, transform: Callable[[Image.Image], Image.Image], mode: str, size: int
) -> np.ndarray:
    """One file as uint8 (C, H, W): `transform` of the picture, about `size` pixels on a side.
    Raises NotRead.
    """

    def array(image: Image.Image) -> np.ndarray:
        made: np.ndarray = pil_to_tensor(transform(image)).numpy()
        return made

    return pictures.read(path, array, mode, near=size).made


def crop_to(size: int) -> v2.Transform:
    """The shorter side to `size` pixels, then the middle square."""
    return v2.Compose([v2.Resize(size, antialias=True), v2.CenterCrop(size)])


def each(work: Callable[[int], None], names: Sequence[str]) -> None:
    """Call work(0), work(1), ..., one for each file, by several workers. Raises BadFiles with
    those it cannot read.
    """

    def attempt(k: int) -> str | None:
        try:
            work(k)
        except NotRead as error:
            return f"{shown(names[k])} ({error})"
        return None

    with ThreadPoolExecutor(WORKERS) as workers:
        bad = [found for found in workers.map(attempt, range(len(names))) if found]
    if bad:
        raise BadFiles(bad)


@dataclass(frozen=True)
class Decoding:
    """How files become images. size: of the side in pixels; mode: RGB or L; squeeze: keep all of
    the picture, not its middle square.
    """

    size: int
    mode: str = "RGB"
    squeeze: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        return (3 if self.mode == "RGB" else 1, self.size, self.size)

    def pool(self, name: str, root: Path, folder: Path, files: Files) -> Pool:
        """`files` as a pool that is kept in `folder`."""
        transform = (
            v2.Resize((self.size, self.size), antialias=True)
            if self.squeeze
            else crop_to(self.size)
        )

        def decode(rows: np.ndarray, out: np.ndarray) -> None:
            names = [files.names[row] for row in rows]

            def work(k: int) -> None:
                out[k] = decode_file(root / names[k], transform, self.mode, self.size)

            each(work, names)

        return Pool(name, root, folder, files.labels, self.shape, decode)


@dataclass(frozen=True)
class FolderSet:
    """A data set of files: its pools by name, what is known of it, and what there is to say of
    files that are left out.
    """

    pools: dict[str, Pool]
    facts: dict[str, Any]
    note: str = ""

    def prepare(self, pool: str, index: np.ndarray, progress: Progress = quiet) -> None:
        if self.note and pool == "train" and len(index):
            progress(self.note, 0, 0)
        self.pools[pool].prepare(index, progress)

    def load(self, pool: str, index: np.ndarray) -> Images:
        return self.pools[pool].load(index)


def folder_set(
    name: str,
    root: Path,
    files: dict[str, Files],
    classes: Sequence[str],
    survives_flip: Sequence[bool],
    decoding: Decoding,
    *stamps: Stamp,
    left_out: Sequence[LeftOut] = (),
    several: Sequence[str] = (),
) -> FolderSet:
    """The data set whose pools are `files`; decoded images are kept by place, stamps and decoding.

    `facts["fingerprint"]` tells whether the images are those of an earlier run, wherever they lie.

    left_out: files that are no part of it, with the reasons.
    several: files of which only the first picture is.
    """
    # In the words of the first release, so that its models know their images. All pictures are
    # upright since then, not only those of an own folder.
    how = (
        f"Decoding(size={decoding.size}, mode={decoding.mode!r}, squeeze={decoding.squeeze}, "
        f"upright={name == 'folder'})"
    )
    said = f"{VERSION} {how} {[stamp.content for stamp in stamps]}"
    fingerprint, kept = (
        hashlib.sha256(text.encode()).hexdigest()
        for text in (said, f"{pictures.VERSION} {decoding} {list(stamps)}")
    )
    folder = cache_folder(name, root, kept)
    pools = {pool: decoding.pool(pool, root, folder, chosen) for pool, chosen in files.items()}
    facts: dict[str, Any] = {
        "classes": [shown(one) for one in classes],
        "shape": list(decoding.shape),
        "pools": {pool: len(chosen.names) for pool, chosen in files.items()},
        "survives_flip": list(survives_flip),
        "fingerprint": fingerprint,
    }
    note = listing.summary(left_out, several)
    if note:
        facts["left_out"] = {"said": note, "files": listing.as_json(left_out)}
    return FolderSet(pools, facts, note)


def check_counts(
    where: Path,
    labels: np.ndarray,
    classes: Sequence[str],
    least: int,
    words: str,
    left_out: Sequence[LeftOut] = (),
) -> None:
    """Raise DataError unless there are two classes or more, each with at least `least` images."""
    named = [shown(name) for name in classes]
    place = shown(str(where))
    note = listing.summary(left_out)
    note = f" Of what lies there, {note}." if note else ""
    if len(classes) < 2:
        found = f"only one, {named[0]}" if named else "none"
        raise DataError(
            f"A classifier needs two classes or more, one folder each; in {place} there is "
            f"{found}. Add a folder of images for each further class.{note}"
        )
    counts = np.bincount(labels, minlength=len(classes))
    few = [f"{name} ({count})" for name, count in zip(named, counts, strict=True) if count < least]
    if few:
        more = f" and {len(few) - 3} more" if len(few) > 3 else ""
        raise DataError(
            f"Each class in {place} needs {least} images or more ({words}), but "
            f"{', '.join(few[:3])}{more} {'has' if len(few) == 1 else 'have'} fewer. Add images "
            f"there, or take the {'folder' if len(few) == 1 else 'folders'} away.{note}"
        )
