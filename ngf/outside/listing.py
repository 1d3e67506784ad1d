"""Folders of images from outside: which files are images, what the others are, and each one's why.

A file is taken for an image if its name ends like one or if it begins like one; whether it is one,
`look` finds out by decoding it, once, and keeps what it saw. What is left out has a name and a
reason; hidden files and those of operating systems are no part of a data set and are skipped.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import itertools
import json
import os
import stat
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from ngf.outside.pictures import VERSION, NotRead, read, refusal, start_of, why_not
from ngf.places import cache_dir
from ngf.progress import Progress, quiet

SUFFIXES = (
    ".bmp",
    ".gif",
    ".jpeg",
    ".jpg",
    ".pbm",
    ".pgm",
    ".png",
    ".pnm",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)
TEST = ("test", "val")  # names of a folder of test images, the first that is there
WORKERS = min(8, os.cpu_count() or 1)  # threads: decoding and resizing do not hold Python's lock
# What operating systems and archivers leave in folders, in small letters.
_SYSTEM = {
    "$recycle.bin",
    "@eadir",
    "__macosx",
    "desktop.ini",
    "ehthumbs.db",
    "icon\r",
    "lost+found",
    "system volume information",
    "thumbs.db",
}
_SHOWN, _REASONS = 3, 6  # names that a summary gives for each reason, and reasons
_AT_ONCE = 256  # files that are looked at between two words on how far it is
_NEAR = 16  # a JPEG that is only looked at is decoded as small as it can be


class Entry(NamedTuple):
    """A file: its name relative to the data set, its size in bytes, its change in ns."""

    name: str
    size: int
    changed: int


class LeftOut(NamedTuple):
    """What was left out: its name relative to the data set, and why."""

    name: str
    why: str


class Look(NamedTuple):
    """What was seen of an image: pixels as it is seen, the color mode (16-bit gray is L), and
    whether it holds more pictures than the first.
    """

    width: int
    height: int
    mode: str
    several: bool


class Survey(NamedTuple):
    """What a folder with a folder of images per class seems to hold, without decoding any.

    parts: images of each class, for each part that the owner has made, such as `train`; for one
        part without a name where the owner has made none.
    several: images that hold more pictures than the first, as far as that is known.
    more: there are more files than were asked for.
    """

    parts: dict[str, dict[str, int]]
    left_out: list[LeftOut]
    several: list[str]
    more: bool


class Listing(NamedTuple):
    """The files of each folder, and what was left out of all of them. more: there are more
    files than were asked for.
    """

    files: list[list[Entry]]
    left_out: list[LeftOut]
    more: bool = False


def shown(name: str) -> str:
    """A name as a line of text that can be printed anywhere: bytes that are not UTF-8, and what
    is not printed, are written as `\\\\xe9`.
    """

    def escaped(c: str) -> str:
        if "\udc80" <= c <= "\udcff":  # how Python holds a byte that is not UTF-8
            return f"\\x{ord(c) - 0xDC00:02x}"
        return c.encode("unicode_escape").decode("ascii")

    return "".join(c if c.isprintable() else escaped(c) for c in name)


def text_of(path: Path, most_bytes: int = 64 * 2**20) -> str:
    """The text of a file in UTF-8. Raises OSError or ValueError, and waits for no pipe."""
    if os.path.lexists(path) and not path.is_file():
        raise ValueError("it is no file")
    with open(path, "rb") as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise ValueError(f"it is larger than {most_bytes:,} bytes")
    return data.decode("utf-8")


def skipped(name: str) -> bool:
    """Whether a file or folder is hidden, or one that an operating system has put there."""
    return name.startswith(".") or name.lower() in _SYSTEM


def class_folders(root: Path) -> list[str]:
    """Names of the folders in `root`, in order; without those that are skipped. Raises OSError."""
    with os.scandir(root) as entries:
        return sorted(
            entry.name for entry in entries if not skipped(entry.name) and _is_folder(entry)
        )


def beside(root: Path, used: Iterable[str]) -> list[LeftOut]:
    """What lies in `root` beside the folders and files that are `used`. Raises OSError."""
    known = set(used)
    with os.scandir(root) as entries:
        rest = sorted(
            (entry for entry in entries if entry.name not in known and not skipped(entry.name)),
            key=lambda entry: entry.name,
        )
    return [
        LeftOut(entry.name, _unread(Path(entry.path)) or "in no folder of a class")
        if not _is_folder(entry)
        else LeftOut(entry.name, f"a folder that is not used: {_inside(entry.path)}")
        for entry in rest
    ]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle, for one
        return False


def _unread(path: Path) -> str:
    """Why a file cannot be opened; empty where it can."""
    try:
        about = os.stat(path)
    except OSError as error:
        return _link_error(error)
    return "" if stat.S_ISREG(about.st_mode) else "a pipe, a socket or a device"


def _link_error(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "a link in a circle"
    return "a link to nothing" if error.errno == errno.ENOENT else why_not(error)


def list_files(root: Path, folders: Sequence[str], most: int | None = None) -> Listing:
    """The files in `folders` (relative to `root`) that seem to be images, by name, and what else
    lies there. Raises OSError for a folder that cannot be read.

    most: look at no more files than that.
    """
    files: list[list[Entry]] = []
    left_out: list[LeftOut] = []
    seen = 0
    for folder in folders:
        with os.scandir(root / folder) as entries:
            wanted = (entry for entry in entries if not skipped(entry.name))
            found = list(wanted if most is None else itertools.islice(wanted, most - seen))
        seen += len(found)
        files.append([])
        for entry in sorted(found, key=lambda entry: entry.name):
            name = f"{folder}/{entry.name}"
            judged = _judge(entry, name)
            if isinstance(judged, Entry):
                files[-1].append(judged)
            else:
                left_out.append(LeftOut(name, judged))
    return Listing(files, left_out, most is not None and seen >= most)


def _judge(entry: os.DirEntry[str], name: str) -> Entry | str:
    """A file that seems to be an image, or why it does not."""
    try:
        about = entry.stat()
    except OSError as error:
        return _link_error(error)
    if stat.S_ISDIR(about.st_mode):
        return f"a folder in a class: {_inside(entry.path)}"
    if not stat.S_ISREG(about.st_mode):
        return "a pipe, a socket or a device"
    if not entry.name.lower().endswith(SUFFIXES):
        why = _beginning(entry.path, about.st_size, about.st_mtime_ns)
        if why:
            return why
    return Entry(name, about.st_size, about.st_mtime_ns)


@functools.lru_cache(maxsize=50_000)
def _beginning(path: str, size: int, changed: int) -> str:
    """Why a file is none of the images that are read, by its first bytes; empty if it may be."""
    try:
        return refusal(start_of(Path(path)))
    except NotRead as error:
        return str(error)


def _inside(folder: str) -> str:
    """How many files a folder holds: `12 files`."""
    try:
        with os.scandir(folder) as entries:
            count = sum(1 for _ in itertools.islice(entries, 10_000))
    except OSError as error:
        return why_not(error)
    more = " or more" if count == 10_000 else ""
    return f"{count:,} file{'' if count == 1 else 's'}{more}"


def beginnings(root: Path, listing: Listing) -> Listing:
    """The listing without the files that do not begin like an image, whatever their name says."""
    files: list[list[Entry]] = []
    left_out = list(listing.left_out)
    for folder in listing.files:
        files.append([])
        for entry in folder:
            why = _beginning(f"{root}/{entry.name}", entry.size, entry.changed)
            if why:
                left_out.append(LeftOut(entry.name, why))
            else:
                files[-1].append(entry)
    return Listing(files, left_out, listing.more)


def survey(root: Path, settings: str, most: int) -> Survey:
    """What lies in `root`. Files are judged by how they begin, those that were looked at by what
    was seen of them. Raises OSError.

    settings: the name of a file that belongs there.
    most: judge no more files than that in each part.
    """
    inside, seen = class_folders(root), looked(root)
    splits = parts_of(inside)
    found = Survey({}, beside(root, [*(splits or inside), settings]), [], False)
    for split in splits or [""]:
        classes = class_folders(root / split)
        folders = [f"{split}/{name}" if split else name for name in classes]
        judged = beginnings(root, list_files(root, folders, most))
        found.left_out.extend(judged.left_out)
        if split:
            found.left_out.extend(
                LeftOut(f"{split}/{name}", why) for name, why in beside(root / split, classes)
            )
        counts = found.parts.setdefault(split, {})
        for name, files in zip(classes, judged.files, strict=True):
            known = [seen.get(entry) for entry in files]
            bad = [what for what in known if isinstance(what, LeftOut)]
            found.left_out.extend(bad)
            found.several.extend(
                entry.name
                for entry, what in zip(files, known, strict=True)
                if isinstance(what, Look) and what.several
            )
            counts[shown(name)] = len(files) - len(bad)
        found = found._replace(more=found.more or judged.more)
    return found


def parts_of(inside: Sequence[str]) -> list[str]:
    """The folders of training and test images among those `inside` a data set, if its owner has
    divided it: `train` and the first of `TEST`.
    """
    test = next((name for name in TEST if name in inside), None)
    return [name for name in ("train", test) if name is not None and name in inside]


def look(
    root: Path, entries: Sequence[Entry], progress: Progress = quiet
) -> dict[str, Look | LeftOut]:
    """What each file is, by decoding it. What was seen is kept in the cache, and only files that
    have changed since are decoded again.
    """
    seen = looked(root)
    new = [entry for entry in entries if seen.get(entry) is None]
    found = {entry: known for entry in entries if (known := seen.get(entry)) is not None}
    try:
        for start in range(0, len(new), _AT_ONCE):
            progress("looking at images", start, len(new))
            part = new[start : start + _AT_ONCE]
            with ThreadPoolExecutor(WORKERS) as workers:
                found |= zip(part, workers.map(functools.partial(_look, root), part), strict=True)
    finally:
        if new:
            _keep(root, found)
    return {entry.name: what for entry, what in found.items()}


def _look(root: Path, entry: Entry) -> Look | LeftOut:
    def nothing(image: object) -> None:
        """A look needs no picture."""

    try:
        picture = read(root / entry.name, nothing, near=_NEAR)
    except NotRead as error:
        return LeftOut(entry.name, str(error))
    return Look(*picture.size, picture.mode, picture.several)


def _kept(root: Path) -> Path:
    place = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:10]
    return cache_dir() / "looked" / f"{place}.json"


def looked(root: Path) -> Mapping[Entry, Look | LeftOut]:
    """What earlier looks at the files below `root` have seen."""
    path = _kept(root)
    try:
        return _looked(path, os.stat(path).st_mtime_ns)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}  # never looked, or damaged: everything is looked at again


@functools.lru_cache(maxsize=2)
def _looked(path: Path, changed: int) -> dict[Entry, Look | LeftOut]:
    given = json.loads(path.read_text(encoding="utf-8"))
    if given["version"] != VERSION:
        return {}
    rows = [(Entry(*entry), what) for entry, what in given["files"]]
    return {
        entry: LeftOut(entry.name, what) if isinstance(what, str) else Look(*what)
        for entry, what in rows
    }


def _keep(root: Path, found: Mapping[Entry, Look | LeftOut]) -> None:
    path = _kept(root)
    rows = [
        (entry, what.why if isinstance(what, LeftOut) else what) for entry, what in found.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"version": VERSION, "files": rows}, file)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def summary(
    left_out: Sequence[LeftOut], several: Sequence[str] = (), plain: Callable[[str], str] = str
) -> str:
    """What was left out, counted by reason, with the first names of each; of images that hold
    several pictures, too. Empty where there is nothing to say.

    plain: makes a name fit for where it is shown.
    """
    reasons: dict[str, list[str]] = defaultdict(list)
    for name, why in left_out:
        reasons[why.partition(":")[0]].append(name)
    by_count = sorted(reasons.items(), key=lambda reason: -len(reason[1]))
    parts = [
        f"{len(names):,} × {plain(shown(why))} ({_first(names, plain)})"
        for why, names in by_count[:_REASONS]
    ]
    if rest := sum(len(names) for _, names in by_count[_REASONS:]):
        parts.append(f"{rest:,} × other reasons")
    text = f"left out {len(left_out):,}: {'; '.join(parts)}" if parts else ""
    if several:
        of = f"of {len(several):,} with several pictures the first was taken"
        text += f"{'; ' if text else ''}{of} ({_first(several, plain)})"
    return text


def _first(names: Sequence[str], plain: Callable[[str], str]) -> str:
    words = [plain(shown(name)) for name in names[:_SHOWN]]
    if len(names) > _SHOWN:
        words.append(f"{len(names) - _SHOWN:,} more")
    return ", ".join(words)


def as_json(left_out: Sequence[LeftOut], most: int = 200) -> list[list[Any]]:
    """Names and reasons for a result, no more than `most`."""
    return [[shown(name), shown(why)] for name, why in left_out[:most]]
