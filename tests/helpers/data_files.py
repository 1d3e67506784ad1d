"""Small data sets in the real formats, one function each: `write(root, name)` and the patches
that make them small.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from ngf.catalogue import build
from ngf.config import Choice
from ngf.data import Images, cifar10, gtsrb, svhn

RNG = np.random.default_rng(0)


def picture(height: int, width: int, mode: str = "RGB") -> Image.Image:
    """Noise, so that no two pictures are alike."""
    shape = (height, width) if mode == "L" else (height, width, len(mode))
    return Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8))


def save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def write_cifar10(
    root: Path, patch: pytest.MonkeyPatch
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pickles of 100 images each; returns images (N, 3, 32, 32) and labels of train and test."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    written = {"train": [], "test": []}
    for name in (*cifar10._FILES["train"], "test_batch"):
        data, labels = (
            RNG.integers(0, 256, (100, 3072), dtype=np.uint8),
            [int(k) for k in RNG.integers(0, 10, 100)],
        )
        (folder / name).write_bytes(pickle.dumps({"data": data, "labels": labels}))
        written["test" if name == "test_batch" else "train"].append((data, labels))
    (folder / "batches.meta").write_bytes(
        pickle.dumps({"label_names": cifar10.CIFAR10.facts["classes"]})
    )
    real = cifar10.TorchvisionCIFAR10
    patch.setattr(
        real, "train_list", [[name, _md5(folder / name)] for name in cifar10._FILES["train"]]
    )
    patch.setattr(real, "test_list", [["test_batch", _md5(folder / "test_batch")]])
    patch.setattr(real, "meta", {**real.meta, "md5": _md5(folder / "batches.meta")})
    patch.setitem(cifar10.CIFAR10.facts, "pools", {"train": 400, "holdout": 100, "test": 100})
    return {
        split: (
            np.concatenate([data for data, _ in parts]).reshape(-1, 3, 32, 32),
            np.concatenate([labels for _, labels in parts]),
        )
        for split, parts in written.items()
    }


def write_svhn(root: Path, patch: pytest.MonkeyPatch) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """MATLAB files in which the digit 0 is class 10; returns images (N, 3, 32, 32) and digits
    of train and test.
    """
    root.mkdir(parents=True, exist_ok=True)
    sizes, written, lists = {"train": 400, "test": 100}, {}, {}
    for split, count in sizes.items():
        images, classes = (
            RNG.integers(0, 256, (32, 32, 3, count), dtype=np.uint8),
            RNG.integers(1, 11, (count, 1)),
        )
        path = root / svhn._FILES[split]
        scipy.io.savemat(path, {"X": images, "y": classes.astype(np.uint8)})
        lists[split] = ["http://127.0.0.1:9/", path.name, _md5(path)]
        written[split] = images.transpose(3, 2, 0, 1), classes[:, 0] % 10
    patch.setattr(svhn.TorchvisionSVHN, "split_list", lists)
    patch.setitem(svhn.SVHN.facts, "pools", {"train": 320, "holdout": 80, "test": 100})
    return written


def write_gtsrb(root: Path, patch: pytest.MonkeyPatch, rows: int = 3, pictures: int = 3) -> None:
    """PPM files of several sizes in 43 folders, rows of pictures of one sign, and a table of
    the test classes.
    """
    base = root / "gtsrb"
    for label in range(43):
        for row in range(rows):
            for k in range(pictures):
                size = 20 + 2 * k
                save(
                    picture(size, size + 1),
                    base / f"GTSRB/Training/{label:05d}/{row:05d}_{k:05d}.ppm",
                )
        (base / f"GTSRB/Training/{label:05d}/GT-{label:05d}.csv").write_text(
            "Filename;Width;Height\n"
        )
    lines = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for k in range(50):
        save(picture(30, 30), base / f"GTSRB/Final_Test/Images/{k:05d}.ppm")
        lines.append(f"{k:05d}.ppm;30;30;5;5;25;25;{(k * 7) % 43}")
    (base / "GT-final_test.csv").write_text("\n".join(lines) + "\n")
    apart = 43 * pictures
    patch.setitem(
        gtsrb.GTSRB.facts,
        "pools",
        {"train": 43 * rows * pictures - apart, "holdout": apart, "test": 50},
    )


def write_tiny_imagenet(root: Path, images: int = 120) -> None:
    base = root / "tiny-imagenet-200"
    ids = ["n02124075", "n04067472", "n04540053"]
    for wnid in ids:
        for k in range(images):
            save(
                picture(64, 64, "L" if k == 0 else "RGB"),
                base / f"train/{wnid}/images/{wnid}_{k}.JPEG",
            )
    lines = []
    for k in range(12):
        save(picture(64, 64), base / f"val/images/val_{k}.JPEG")
        lines.append(f"val_{k}.JPEG\t{ids[(k + 1) % 3]}\t0\t0\t63\t63")
    (base / "val/val_annotations.txt").write_text("\n".join(lines) + "\n")
    (base / "wnids.txt").write_text("\n".join(ids) + "\n")
    (base / "words.txt").write_text(
        "n02124075\tEgyptian cat\nn04067472\treel\nn00000001\tno such class\n"
        "n04540053\tvolleyball, net game\n"
    )


def write_imagenet(root: Path, images: int = 120) -> None:
    for wnid in ("n01440764", "n01443537", "n01484850"):
        for part, count in (("train", images), ("val", 5)):
            for k in range(count):
                save(picture(70, 90), root / f"imagenet/{part}/{wnid}/{wnid}_{k}.JPEG")
    (root / "imagenet/LOC_synset_mapping.txt").write_text(
        "n01440764 tench, Tinca tinca\nn01443537 goldfish\n"
    )


def write_folder(
    root: Path,
    images: int = 150,
    classes: tuple[str, ...] = ("blue", "green", "red"),
    size: int = 24,
    mode: str = "RGB",
    settings: dict | None = None,
) -> Path:
    """Images whose class can be learned: brightness or color. Returns the folder."""
    base = root / "folder"
    for label, name in enumerate(classes):
        for k in range(images):
            noise = RNG.integers(0, 80, (size, size, 3), dtype=np.uint8)
            noise[..., label % 3] += 120
            save(Image.fromarray(noise).convert(mode), base / name / f"{k:03d}.png")
    if settings is not None:
        (base / "dataset.json").write_text(json.dumps(settings))
    return base


def provide(name: str, root: Path, patch: pytest.MonkeyPatch) -> None:
    """Make data set `name` be there in `root`, in small, by `write_<name>` above; one without is
    drawn or installed.
    """
    write = globals().get(f"write_{name}")
    if write is not None:
        patch.setenv("NGF_DATA", str(root))
        write(root, patch) if name in ("cifar10", "svhn", "gtsrb") else write(root)


def source(name: str):
    """Data set `name`, as its files are now."""
    return build("data", Choice(name))


def whole(name: str, pool: str) -> Images:
    """All images of a pool of data set `name`."""
    made = source(name)
    return made.load(pool, np.arange(made.facts["pools"][pool]))
