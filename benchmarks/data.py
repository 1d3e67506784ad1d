"""Memory of preparing data of the size of ImageNet, and how fast images are decoded.

    python -m benchmarks.data [--images 1281167] [--repeats 3] [--out benchmarks/results/data.json]

Memory: 1,281,167 training and 10,000 test files in 1,000 folders (links to a few pictures of
500x375, so that they take no room) are listed, divided, decoded as a training of 10,000 images
needs it, and 100,000 are then held at once and poisoned. A process of its own tells its peak.
"anonymous" is what cannot be given back; large images lie in files.

Speed: decoding 2,000 of these pictures to 64x64, in turn with torchvision's ImageFolder and the
same transforms in a DataLoader with as many worker processes as there are cores. The ratio is the
median over repeats.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import RESULTS, write
from ngf.environment import environment
from ngf.places import child_environment
from ngf.terminal import finish

_LINKS = 20_000  # to one file; file systems have a limit


def write_pictures(folder: Path, count: int) -> list[Path]:
    """JPEG files of 500x375: a smooth picture with some noise, which takes as long to decode
    as a photograph.
    """
    folder.mkdir()
    rng, paths = np.random.default_rng(0), []
    for k in range(count):
        smooth = np.asarray(
            Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((500, 375))
        )
        noisy = np.clip(smooth + rng.integers(-20, 20, smooth.shape), 0, 255).astype(np.uint8)
        paths.append(folder / f"{k}.JPEG")
        Image.fromarray(noisy).save(paths[-1], quality=90)
    return paths


def link(root: Path, pictures: list[Path], classes: int, train: int, test: int) -> None:
    """ImageNet's layout in `root`/imagenet, of `train` and `test` images."""
    made = 0
    for part, count in (("train", train), ("val", test)):
        for label in range(classes):
            folder = root / "imagenet" / part / f"n{label:08d}"
            folder.mkdir(parents=True)
            for k in range(label, count, classes):
                os.link(pictures[made // _LINKS % len(pictures)], folder / f"{k}.JPEG")
                made += 1


def memory() -> dict[str, float]:
    """Peak of this process and its anonymous part now, in MB."""
    lines = dict(
        line.split(":", 1)
        for line in Path("/proc/self/status").read_text().splitlines()
        if ":" in line
    )
    return {
        "peak_mb": int(lines["VmHWM"].split()[0]) / 1e3,
        "anonymous_mb": int(lines["RssAnon"].split()[0]) / 1e3,
    }


def hold() -> dict[str, dict[str, float]]:
    """Memory after each stage of using the data set that `NGF_DATA` names; in a process of
    its own.
    """
    from ngf.attacks.poison import poison
    from ngf.catalogue import build
    from ngf.config import Choice
    from ngf.data import load

    out = {"imported": memory()}
    splits = load("imagenet", num_train=10_000)
    classes = len(splits.classes)
    out["listed"] = memory()
    splits.prepare()
    out["prepared"] = memory()
    rows = np.random.default_rng(0).integers(
        0, min(10_000, splits.source.facts["pools"]["train"]), 100_000
    )
    many = splits.source.load("train", rows)
    out["100,000 images held"] = memory()
    mix = poison(many, build("attacks", Choice("badnets")), classes, 0)
    out["poisoned"] = memory()
    assert len(mix.data) == 100_000
    return out


def rates(root: Path) -> tuple[float, float]:
    """Images a second by this project and by a DataLoader."""
    import torch
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    from ngf.data.shared.folders import Decoding, find_files

    folders = sorted(f"train/{path.name}" for path in (root / "imagenet/train").iterdir())
    files, _ = find_files(root / "imagenet", folders)
    pool = Decoding(64).pool("train", root / "imagenet", root, files)
    count = len(files.names)
    started = time.perf_counter()
    for rows in np.array_split(np.arange(count), max(1, count // pool.rows_of_a_part)):
        pool.decode(rows, np.empty((len(rows), 3, 64, 64), np.uint8))
    ours = count / (time.perf_counter() - started)
    images = ImageFolder(
        str(root / "imagenet/train"),
        v2.Compose([v2.Resize(64), v2.CenterCrop(64), v2.PILToTensor()]),
    )
    started = time.perf_counter()
    found = sum(
        len(labels)
        for _, labels in torch.utils.data.DataLoader(
            images, batch_size=128, num_workers=os.cpu_count() or 1
        )
    )
    assert found == count
    return ours, count / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=1_281_167, help="training files")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "data.json")
    parser.add_argument("--hold", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.hold:
        print(json.dumps(hold()))
        return
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        pictures = write_pictures(root / "pictures", 100)
        link(root / "small", pictures, 10, 2_000, 10)
        measured = [rates(root / "small") for _ in range(options.repeats)]
        link(root / "large", pictures, 1_000, options.images, 10_000)
        child = child_environment(NGF_DATA=str(root / "large"), NGF_CACHE=str(root / "cache"))
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.data", "--hold"],
            env=child,
            check=True,
            capture_output=True,
            text=True,
        )
    stages = json.loads(done.stdout)
    result: dict[str, Any] = {
        "memory": {"files": options.images, "stages": stages},
        "decoding": {
            "images": 2_000,
            "repeats": options.repeats,
            "to": "64x64",
            "from": "500x375",
            "per_second": statistics.median(ours for ours, _ in measured),
            "dataloader_per_second": statistics.median(peer for _, peer in measured),
            "ratio": statistics.median(ours / peer for ours, peer in measured),
        },
        "environment": environment(),
        "load_before": load_before,
    }
    for stage, found in stages.items():
        print(
            f"{stage:<20} peak {found['peak_mb']:7,.0f} MB, anonymous "
            f"{found['anonymous_mb']:7,.0f} MB"
        )
    speed = result["decoding"]
    print(f"decoding {speed['per_second']:,.0f} images/s, {speed['ratio']:.2f} times a DataLoader")
    write(options.out, result)


if __name__ == "__main__":
    finish(main)
