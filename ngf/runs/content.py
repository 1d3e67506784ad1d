"""What lies in a folder of somebody's own images, as one short text: part of what a run is.

Two folders with equal settings are two data sets. Published sets are verified when they are read
and have no such text.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace

from ngf.catalogue import catalogue
from ngf.config import TrainSpec
from ngf.options import SpecError
from ngf.outside.listing import skipped
from ngf.places import data_dir


def content(data: str) -> str:
    """Digest of the names, sizes and times of change of all files of a data set, empty where its
    content is fixed. A copy that did not keep the times counts as other images, which at worst
    trains a model twice.
    """
    digest = hashlib.sha256()
    folders = catalogue()["data"].get(data, {}).get("content", ())
    for folder in folders:
        root = data_dir() / folder
        been: set[tuple[int, int]] = set()  # links may lead in circles
        for base, inside, names in os.walk(root, followlinks=True):
            where = os.stat(base)
            if (where.st_dev, where.st_ino) in been:
                inside.clear()
                continue
            been.add((where.st_dev, where.st_ino))
            inside.sort()
            for name in sorted(name for name in names if not skipped(name)):
                path = os.path.join(base, name)
                try:
                    about = os.stat(path)
                except OSError:  # gone, or a link to nowhere: no image
                    continue
                line = f"{os.path.relpath(path, root)}\0{about.st_size}\0{about.st_mtime_ns}\n"
                digest.update(os.fsencode(line))
    return digest.hexdigest()[:16] if folders else ""


def filled(spec: TrainSpec) -> TrainSpec:
    """`spec` with what lies in its folder now, where it does not say it yet: its name as a run."""
    return replace(spec, content=spec.content or content(spec.data))


def check_content(spec: TrainSpec) -> None:
    """Raise SpecError when the images are not those that this training was asked for with."""
    if spec.imported or not spec.content or spec.content == content(spec.data):
        return
    folders = catalogue()["data"].get(spec.data, {}).get("content", ())
    if not folders:
        raise SpecError(f"content belongs to folders of your own images: {spec.data} has none.")
    raise SpecError(
        f"The images in {', '.join(str(data_dir() / name) for name in folders)} are not those that "
        f"{spec.id} was asked for with: files were added, changed or taken away. Put them back, or "
        "train a model on what is there now."
    )
