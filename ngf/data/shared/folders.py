"""Data sets of image files, one folder per class: found, split into pools, decoded by workers.

Which images are on disk is looked up when `facts` is first asked for. Decoded images are kept under
names, sizes and times of the files, so a file that changes is decoded again.
"""

from __future__ import annotations

import functools
import hashlib
import os
import struct
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import pil_to_tensor

from ngf.data.images import DataError, Images
from ngf.data.shared.decoded import BadFiles, Pool, cache_folder
from ngf.progress import Progress, quiet

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
WORKERS = min(8, os.cpu_count() or 1)  # threads: decoding and resizing do not hold Python's lock
# A picture takes 15 bytes a pixel at most while it is decoded. Of those above MANY_PIXELS one is
# decoded at a time, so all workers together hold less than 1.3 GB.
MANY_PIXELS, MAX_PIXELS = 4_000_000, 50_000_000
_ONE_AT_A_TIME = threading.Lock()
VERSION = 1  # raise it when decoding changes, so that no cache serves old images
# What Pillow raises for files that are cut short, of another format, or made up.
UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)
_MODES = (
    "1",
    "L",
    "LA",
    "P",
    "PA",
    "RGB",
    "RGBA",
    "RGBX",
    "CMYK",
    "YCbCr",
    "HSV",
    "LAB",
)  # 8 bits a channel


@dataclass(frozen=True)
class Files:
    """Image files with their classes. names: relative to the root of the data set; labels:
    int64 (N,).
    """

    names: Sequence[str]
    labels: np.ndarray

    def take(self, index: np.ndarray) -> Files:
        return Files([self.names[k] for k in index], self.labels[index])


def class_folders(root: Path) -> list[str]:
    """Names of the folders in `root`, in order; hidden ones are not counted."""
    with os.scandir(root) as entries:
        return sorted(
            entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")
        )


class Stamp(NamedTuple):
    """What tells one listing of files from another: `content` by their names and sizes,
    `times` by their changes.
    """

    content: str
    times: str


def find_files(root: Path, folders: Sequence[str]) -> tuple[Files, Stamp]:
    """The image files in `folders` (relative to `root`), labeled 0, 1, ... by folder, and
    their stamp.
    """
    times = tuple(os.stat(root / folder).st_mtime_ns for folder in folders)
    return _find_files(root, tuple(folders), times)


@functools.lru_cache(maxsize=4)  # the same set is built anew for each part of a run
def _find_files(
    root: Path, folders: tuple[str, ...], times: tuple[int, ...]
) -> tuple[Files, Stamp]:
    names, labels, content, changes = [], [], hashlib.sha256(), hashlib.sha256()
    for label, folder in enumerate(folders):
        with os.scandir(root / folder) as entries:
            found = sorted(
                (entry.name, entry.stat())
                for entry in entries
                if entry.name.lower().endswith(SUFFIXES) and entry.is_file()
            )
        for name, about in found:
            names.append(f"{folder}/{name}")
            labels.append(label)
            content.update(f"{folder}/{name}\0{about.st_size}\n".encode())
            changes.update(f"{about.st_mtime_ns}\n".encode())
    return Files(names, np.array(labels, np.int64)), Stamp(content.hexdigest(), changes.hexdigest())


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


def flat(image: Image.Image, mode: str) -> Image.Image:
    """The picture in `mode` (RGB or L), what is transparent on white. Raises ValueError for
    more than 8 bits.
    """
    if image.mode not in _MODES:
        raise ValueError(f"mode {image.mode} has not 8 bits a channel")
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    return image.convert(mode)


def decode_file(
    path: Path,
    transform: Callable[[Image.Image], Image.Image],
    mode: str,
    size: int,
    upright: bool = False,
) -> np.ndarray:
    """One file as uint8 (C, H, W): `transform` of the picture, turned by its EXIF tag if
    `upright`.
    """
    with Image.open(path) as image:
        image.draft(
            None, (2 * size, 2 * size)
        )  # a JPEG may be decoded at half, a quarter or an eighth of its size
        pixels = image.width * image.height
        if pixels > MAX_PIXELS:
            raise ValueError(
                f"{image.width}x{image.height} pixels are too many; {MAX_PIXELS:,} are the limit"
            )
        with _ONE_AT_A_TIME if pixels > MANY_PIXELS else nullcontext():
            picture = ImageOps.exif_transpose(image) if upright else image
            return pil_to_tensor(transform(flat(picture, mode))).numpy()


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
        except UNREADABLE as error:
            why: dict[type[Exception], str] = {
                FileNotFoundError: "not found",
                UnidentifiedImageError: "not an image",
            }
            return f"{names[k]} ({why.get(type(error), str(error))})"
        return None

    with ThreadPoolExecutor(WORKERS) as workers:
        bad = [found for found in workers.map(attempt, range(len(names))) if found]
    if bad:
        raise BadFiles(bad)


@dataclass(frozen=True)
class Decoding:
    """How files become images. size: of the side in pixels; mode: RGB or L; squeeze: keep all of
    the picture, not its middle square; upright: turn it by its EXIF tag.
    """

    size: int
    mode: str = "RGB"
    squeeze: bool = False
    upright: bool = False

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
                out[k] = decode_file(root / names[k], transform, self.mode, self.size, self.upright)

            each(work, names)

        return Pool(name, root, folder, files.labels, self.shape, decode)


@dataclass(frozen=True)
class FolderSet:
    """A data set of files: its pools by name, and what is known of it."""

    pools: dict[str, Pool]
    facts: dict[str, Any]

    def prepare(self, pool: str, index: np.ndarray, progress: Progress = quiet) -> None:
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
) -> FolderSet:
    """The data set whose pools are `files`; decoded images are kept by place, stamps and decoding.

    `facts["fingerprint"]` tells whether the images are those of an earlier run, wherever they lie.
    """
    fingerprint, kept = (
        hashlib.sha256(f"{VERSION} {decoding} {texts}".encode()).hexdigest()
        for texts in ([stamp.content for stamp in stamps], list(stamps))
    )
    folder = cache_folder(name, root, kept)
    pools = {pool: decoding.pool(pool, root, folder, chosen) for pool, chosen in files.items()}
    return FolderSet(
        pools,
        {
            "classes": list(classes),
            "shape": list(decoding.shape),
            "pools": {pool: len(chosen.names) for pool, chosen in files.items()},
            "survives_flip": list(survives_flip),
            "fingerprint": fingerprint,
        },
    )


def check_counts(
    where: Path, labels: np.ndarray, classes: Sequence[str], least: int, words: str
) -> None:
    """Raise DataError unless there are two classes or more, each with at least `least` images."""
    if len(classes) < 2:
        found = f"only one, {classes[0]}" if classes else "none"
        raise DataError(
            f"A classifier needs two classes or more, one folder each; in {where} there is "
            f"{found}. Add a folder of images for each further class."
        )
    counts = np.bincount(labels, minlength=len(classes))
    few = [
        f"{name} ({count})" for name, count in zip(classes, counts, strict=True) if count < least
    ]
    if few:
        more = f" and {len(few) - 3} more" if len(few) > 3 else ""
        raise DataError(
            f"Each class in {where} needs {least} images or more ({words}), but "
            f"{', '.join(few[:3])}{more} {'has' if len(few) == 1 else 'have'} fewer. Add images "
            f"there, or take the {'folder' if len(few) == 1 else 'folders'} away."
        )
