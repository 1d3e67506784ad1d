"""The clean images that come with a model: a folder, a zip, an npz, single files, or a data set of
this program.

They are labeled by their folder, by a CSV file (a name and a label in each line), or not at all.
Nothing of an archive is written to the disk. What is left out has a name and a reason; so do images
that are there twice.
"""

from __future__ import annotations

import csv
import hashlib
import io
import stat
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ngf.catalogue import build
from ngf.config import Choice
from ngf.data.images import DataError
from ngf.data.splits import Splits
from ngf.outside import listing
from ngf.outside.listing import LeftOut, shown, skipped
from ngf.outside.pictures import MAX_BYTES, NotRead, read, refusal

LEAST = 20  # images
MOST = 50_000
MOST_BYTES = 2 * 2**30  # of all images of an archive, unpacked
_LINK = stat.S_IFLNK


class Source(NamedTuple):
    """One image: its name, where it is, and its label in words; None without one."""

    name: str
    data: bytes | Path | np.ndarray
    label: str | None


@dataclass(frozen=True)
class Pictures:
    """Images with their labels.

    labels: names of the classes in the order of their numbers.
    numbers: int64 (N,); -1 where an image has no label.
    sizes: (width, height) of each.
    gray: how many are gray.
    left_out: what could not be used, and why.
    """

    sources: Sequence[Source]
    labels: list[str]
    numbers: Tensor
    sizes: list[tuple[int, int]]
    gray: int
    left_out: list[LeftOut] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def labeled(self) -> bool:
        return bool(self.labels)

    @property
    def side(self) -> int | None:
        """Pixels of a side where all images are squares of one size."""
        (width, height), count = Counter(self.sizes).most_common(1)[0]
        return width if width == height and count == len(self.sizes) else None

    def take(self, index: Tensor) -> Pictures:
        rows = index.tolist()
        return Pictures(
            [self.sources[k] for k in rows],
            self.labels,
            self.numbers[index],
            [self.sizes[k] for k in rows],
            self.gray,
        )

    def decoded(self, side: int, fit: str = "squeeze", channels: int = 3) -> Tensor:
        """uint8 (N, channels, side, side).

        fit: what happens to images of another shape: `squeeze` changes their proportions, `crop`
            keeps them and takes the middle.
        """
        mode = "RGB" if channels == 3 else "L"
        made = [_array(source.data, side, fit, mode) for source in self.sources]
        return (
            torch.from_numpy(np.stack(made))
            .reshape(len(made), side, side, -1)
            .permute(0, 3, 1, 2)
            .contiguous()
        )


def _array(data: bytes | Path | np.ndarray, side: int, fit: str, mode: str) -> np.ndarray:
    def sized(image: Image.Image) -> np.ndarray:
        return np.asarray(_resized(image, side, fit))

    if isinstance(data, np.ndarray):
        return sized(Image.fromarray(data).convert(mode))
    return read(data, sized, mode).made


def _resized(image: Image.Image, side: int, fit: str) -> Image.Image:
    if image.size == (side, side):
        return image
    if fit == "crop":
        scale = side / min(image.size)
        width, height = (max(side, round(scale * length)) for length in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        left, top = (width - side) // 2, (height - side) // 2
        return image.crop((left, top, left + side, top + side))
    return image.resize((side, side), Image.Resampling.BILINEAR)


def find(where: Sequence[str]) -> Pictures:
    """The images at `where`: names of files, of a folder, or of a data set. Raises DataError."""
    left_out: list[LeftOut] = []
    if len(where) == 1:
        sources = _one(where[0], left_out)
    else:
        sources = [Source(Path(name).name, Path(name), None) for name in where]
    return _looked_at(sources, left_out)


def _one(where: str, left_out: list[LeftOut]) -> list[Source]:
    path = Path(where)
    if path.is_dir():
        return _of_folder(path, left_out)
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(4)
        if start.startswith(b"PK"):
            return _of_arrays(path) if _holds_arrays(path) else _of_zip(path, left_out)
        return [Source(path.name, path, None)]
    name, _, count = where.partition(":")
    try:
        data = build("data", Choice(name))
    except ValueError:
        raise DataError(
            f"There is no file, folder or data set {shown(where)}. Give a zip or a folder with a "
            "folder of images for each class."
        ) from None
    splits = Splits(data, num_clean=int(count) if count.isdigit() else 500)
    clean = splits.clean
    pictures = clean.images.permute(0, 2, 3, 1).squeeze(-1).numpy()
    return [
        Source(f"{name} {k}", picture, splits.classes[label])
        for k, (picture, label) in enumerate(zip(pictures, clean.labels.tolist(), strict=True))
    ]


def _holds_arrays(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def _of_folder(root: Path, left_out: list[LeftOut]) -> list[Source]:
    classes = listing.class_folders(root)
    if not classes:
        names = sorted(path for path in root.iterdir() if not skipped(path.name))
        labels = _told_by(
            {path.name: path.read_bytes() for path in names if path.suffix.lower() == ".csv"}
        )
        return [
            Source(path.name, path, labels.get(path.name))
            for path in names
            if path.is_file() and path.suffix.lower() != ".csv"
        ]
    found = listing.list_files(root, classes, MOST)
    left_out += found.left_out
    return [
        Source(entry.name, root / entry.name, shown(label))
        for label, entries in zip(classes, found.files, strict=True)
        for entry in entries
    ]


def _of_zip(path: Path, left_out: list[LeftOut]) -> list[Source]:
    """Images in an archive; its directory is believed in nothing but names."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(
            f"{shown(path.name)} cannot be read as a zip: {error}. Zip it again."
        ) from None
    with archive:
        members = [item for item in archive.infolist() if not item.is_dir()]
        if len(members) > MOST:
            raise DataError(
                f"{shown(path.name)} holds {len(members):,} files. Allowed: {MOST:,} or fewer."
            )
        if any(item.flag_bits & 1 for item in members):
            raise DataError(f"{shown(path.name)} is encrypted. Zip the images without a password.")
        total, sources, tables = 0, [], {}
        for item in members:
            name = PurePosixPath(item.filename.replace("\\", "/"))
            if any(skipped(part) for part in name.parts if part not in ("..", "/")):
                continue
            why = _not_read(item, name)
            if why:
                left_out.append(LeftOut(item.filename, why))
                continue
            with archive.open(item) as member:
                data = member.read(MAX_BYTES + 1)
            total += len(data)
            if total > MOST_BYTES:
                raise DataError(
                    f"{shown(path.name)} unpacks to more than {MOST_BYTES / 2**30:.0f} GB. "
                    "Give fewer images: 500 are enough."
                )
            if name.suffix.lower() == ".csv":
                tables[name.name] = data
            elif why := refusal(data[:32]):
                left_out.append(LeftOut(item.filename, why))
            else:
                sources.append(Source(str(name), data, None))
    return _labeled(sources, _told_by(tables))


def _not_read(item: zipfile.ZipInfo, name: PurePosixPath) -> str:
    """Why a member of an archive is not opened; empty where it is."""
    if stat.S_IFMT(item.external_attr >> 16) == _LINK:
        return "a link"
    if name.is_absolute() or ".." in name.parts or ":" in item.filename:
        return "its path leads out of the archive"
    if item.file_size > MAX_BYTES:
        return "too large"
    return ""


def _labeled(sources: Sequence[Source], told: dict[str, str]) -> list[Source]:
    """Sources with the label that a CSV tells, else the name of their folder; where all lie in one
    folder, none.
    """
    folders = {PurePosixPath(source.name).parent.name for source in sources}
    return [
        source._replace(
            label=told.get(PurePosixPath(source.name).name)
            or (shown(PurePosixPath(source.name).parent.name) if len(folders) > 1 else None)
        )
        for source in sources
    ]


def _told_by(tables: dict[str, bytes]) -> dict[str, str]:
    """Name of an image -> its label, by the first two columns of CSV files."""
    found: dict[str, str] = {}
    for name, data in tables.items():
        try:
            lines = list(csv.reader(io.StringIO(data.decode("utf-8-sig"))))
        except (ValueError, csv.Error) as error:
            raise DataError(f"{shown(name)} cannot be read as CSV: {error}.") from None
        for line in lines:
            if len(line) >= 2:
                found[PurePosixPath(line[0].strip()).name] = shown(line[1].strip())
    return found


def _of_arrays(path: Path) -> list[Source]:
    """`images` uint8 (N, H, W, C), (N, C, H, W) or (N, H, W), and `labels` (N,), of an npz."""
    try:
        with np.load(path, allow_pickle=False) as file:
            names = {name.lower(): name for name in file.files}
            images = file[_named(names, ("images", "x", "data", "arr_0"), path)]
            key = next((names[k] for k in ("labels", "y", "label", "arr_1") if k in names), None)
            labels = None if key is None else np.asarray(file[key]).reshape(-1)
    except (ValueError, OSError, zipfile.BadZipFile, MemoryError) as error:
        raise DataError(f"{shown(path.name)} cannot be read as npz: {error}.") from None
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise DataError(
            f"{shown(path.name)}: images are {images.dtype} {images.shape}. Allowed: uint8 "
            "(N, H, W, C), 0 to 255."
        )
    if images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[3] not in (1, 3):
        images = images.transpose(0, 2, 3, 1)
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    if labels is not None and len(labels) != len(images):
        raise DataError(
            f"{shown(path.name)}: {len(images):,} images and {len(labels):,} labels do not fit."
        )
    return [
        Source(
            f"image {k}", np.ascontiguousarray(image), None if labels is None else str(labels[k])
        )
        for k, image in enumerate(images)
    ]


def find_poisoned(path: Path) -> tuple[Pictures, Tensor, Tensor]:
    """Images that carry a trigger, of an npz: `images`, their true `label` and the `target` of the
    attacker as outputs of the model, int64 (N,) each. Raises DataError.
    """
    sources = _of_arrays(path)
    with np.load(path, allow_pickle=False) as file:
        columns = {name.lower(): file[name] for name in file.files}
    found = []
    for wanted in (("label", "labels", "y"), ("target", "targets", "y_target")):
        name = next((name for name in wanted if name in columns), None)
        if name is None:
            raise DataError(f"{shown(path.name)} has no array `{wanted[0]}`.")
        values = np.asarray(columns[name]).reshape(-1)
        if len(values) not in (1, len(sources)) or not np.issubdtype(values.dtype, np.integer):
            raise DataError(
                f"{shown(path.name)}: {name} is {values.dtype} {values.shape}. Allowed: a whole "
                f"number for each of the {len(sources):,} images."
            )
        found.append(torch.from_numpy(np.resize(values, len(sources)).astype(np.int64)))
    sizes = [source.data.shape[1::-1] for source in sources if isinstance(source.data, np.ndarray)]
    label, target = found
    keep = (label != target).nonzero()[:, 0]
    if not len(keep):
        raise DataError(f"{shown(path.name)}: every image is of the attacker's class already.")
    pictures = Pictures(sources, [], torch.full_like(label, -1), sizes, 0)
    return pictures.take(keep), label[keep], target[keep]


def _named(names: dict[str, str], wanted: Sequence[str], path: Path) -> str:
    for name in wanted:
        if name in names:
            return names[name]
    raise DataError(
        f"{shown(path.name)} has no array `images`. It has: "
        f"{', '.join(map(shown, names.values()))}."
    )


def _looked_at(sources: Sequence[Source], left_out: list[LeftOut]) -> Pictures:
    """The sources that can be decoded, each once. Raises DataError where that leaves too few."""
    kept: list[Source] = []
    sizes, gray = [], 0
    seen: dict[str, Source] = {}
    for source, size, is_gray, digest in _looks(sources, left_out):
        first = seen.setdefault(digest, source)
        if first is not source:
            other = f", which has the label {first.label}" if first.label != source.label else ""
            left_out.append(LeftOut(source.name, f"the same as {shown(first.name)}{other}"))
            continue
        kept.append(source)
        sizes.append(size)
        gray += is_gray
    if len(kept) < LEAST:
        said = listing.summary(left_out)
        raise DataError(
            f"There are {len(kept)} images that can be used, and {LEAST} or more are needed."
            f"{' Of the files: ' + said + '.' if said else ''}"
        )
    without = sum(source.label is None for source in kept)
    if 0 < without < len(kept):
        raise DataError(
            f"{without:,} of {len(kept):,} images have no label. Label all of them, or none."
        )
    labels = sorted({source.label for source in kept if source.label is not None}, key=_by_number)
    if len(labels) == 1:
        raise DataError(
            f"All images are of one class, {labels[0]}. Give images of every class that the model "
            "tells apart."
        )
    number = {label: k for k, label in enumerate(labels)}
    numbers = [-1 if source.label is None else number[source.label] for source in kept]
    return Pictures(kept, labels, torch.tensor(numbers), sizes, gray, left_out)


def _by_number(label: str) -> tuple[bool, int, str]:
    """Numbers in the order of numbers, before words: 2 comes before 10."""
    return not label.isdigit(), int(label) if label.isdigit() else 0, label


def _looks(
    sources: Sequence[Source], left_out: list[LeftOut]
) -> Iterator[tuple[Source, tuple[int, int], bool, str]]:
    for source in sources:
        if isinstance(source.data, np.ndarray):
            height, width = source.data.shape[:2]
            digest = hashlib.sha256(source.data.tobytes()).hexdigest()
            yield source, (width, height), source.data.ndim == 2, digest
            continue
        try:
            found = read(source.data, lambda image: hashlib.sha256(image.tobytes()).hexdigest())
        except NotRead as error:
            left_out.append(LeftOut(source.name, str(error)))
            continue
        yield source, found.size, found.mode in ("L", "1", "LA"), found.made
