"""What the data sets that torchvision downloads share: finding or downloading them, pools,
arrays kept in the cache.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ngf.data.images import DataError, Images, empty
from ngf.data.shared.decoded import cache_folder, open_array, save_array
from ngf.places import data_dir
from ngf.progress import Progress, quiet

_POLL = 0.5  # seconds between two looks at a download


def rows_of(pool: str, index: np.ndarray, pools: dict[str, int]) -> np.ndarray:
    """Rows of the published set that are the images `index` of `pool`.

    One fixed shuffle keeps the holdout pool apart from training for every seed; the test set keeps
    its order.
    """
    index = np.asarray(index)
    if pool == "test":
        return index
    order = np.random.default_rng(0).permutation(pools["train"] + pools["holdout"])
    return order[index + (pools["train"] if pool == "holdout" else 0)]


def download(
    title: str,
    get: Callable[[], object],
    files: Sequence[Path],
    archive: Path,
    size: int,
    advice: str,
    progress: Progress = quiet,
) -> None:
    """Have torchvision download and check what is missing of `files`; `archive` is what grows to
    `size` MB meanwhile.

    Raises DataError naming the folder and what to put there.
    """
    if all(path.exists() for path in files):
        return
    failed: list[Exception] = []

    def work() -> None:
        try:
            get()
        except Exception as error:  # noqa: BLE001  told by the thread that waits
            failed.append(error)

    # A thread, so that this one can say how far it is, and stop.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    phase = f"downloading {title} (MB)"
    progress(phase, 0, size)
    while thread.is_alive():
        thread.join(_POLL)
        if thread.is_alive():
            progress(phase, archive.stat().st_size // 10**6 if archive.exists() else 0, size)
    lacking = [path for path in files if not path.exists()]
    if failed or lacking:
        why = f"the download failed ({failed[0] if failed else 'files are missing after it'})"
        names = ", ".join(path.name for path in (lacking or files)[:3])
        folder = (lacking or files)[0].parent
        error = DataError(
            f"{title}: {names} was looked for in {folder} and not found, and {why}. {advice}"
        )
        raise error from (failed[0] if failed else None)


def load_arrays(
    name: str,
    facts: Mapping[str, Any],
    pool: str,
    index: np.ndarray,
    files: Sequence[Path],
    read: Callable[[], tuple[np.ndarray, np.ndarray]],
) -> Images:
    """The images `index` of `pool`, from the arrays that `read` checks and reads; they are kept in
    the cache.

    files: those that the arrays come from; read() -> uint8 (N, C, H, W), int64 (N,), of the whole
    published split. Raises DataError where `read` does, or where it gives other images than `facts`
    says.
    """
    split, pools, num_classes = (
        "test" if pool == "test" else "train",
        facts["pools"],
        len(facts["classes"]),
    )
    count = pools["test"] if split == "test" else pools["train"] + pools["holdout"]
    listing = "".join(
        f"{path}\0{(about := path.stat()).st_size}\0{about.st_mtime_ns}\n" for path in files
    )
    folder = cache_folder(
        f"{name}-{split}", data_dir(), hashlib.sha256(listing.encode()).hexdigest()
    )
    paths = folder / "images.npy", folder / "labels.npy"
    if not all(path.exists() for path in paths):
        images, labels = read()
        if (
            images.shape != (count, *facts["shape"])
            or labels.shape != (count,)
            or not (0 <= labels.min() <= labels.max() < num_classes)
        ):
            raise DataError(
                f"{files[0].parent} should hold {count:,} {split} images of {num_classes} classes, "
                f"but holds images {images.shape} and labels {labels.shape}. Delete it and start "
                "again, or put good copies in its place."
            )
        for path, array in zip(paths, (images, labels), strict=True):
            save_array(path, array)
    images, labels = (open_array(path) for path in paths)
    rows = rows_of(pool, index, pools)
    out = empty(len(rows), images.shape[1:])
    out.numpy()[:] = images[rows]
    return Images(out, torch.from_numpy(labels[rows]))
