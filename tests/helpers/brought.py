"""What people bring to `ngf import`: a network of the zoo as a file, and clean images of signs."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from ngf.data import load
from ngf.places import ZOO
from ngf.runs.folder import WEIGHTS

MODEL = "signs-badnets-s0"


def zoo_weights(name: str = MODEL) -> dict[str, torch.Tensor]:
    (folder,) = ZOO.glob(f"{name}-*")
    found = load_file(folder / WEIGHTS)
    return {key: v.float() if v.is_floating_point() else v for key, v in found.items()}


def pngs(count: int, names: Callable[[str, int], str]) -> dict[str, bytes]:
    """Clean signs as PNG. names: from class and number to a path."""
    splits = load("signs", seed=0, num_clean=count)
    found = {}
    for k, (image, label) in enumerate(
        zip(splits.clean.images, splits.clean.labels.tolist(), strict=True)
    ):
        out = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(out, "PNG")
        found[names(splits.classes[label], k)] = out.getvalue()
    return found


def zip_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def signs_zip(path: Path, count: int = 60) -> Path:
    """A zip with a folder for each class; their order is that of the model's outputs."""
    classes = load("signs").classes
    return zip_of(path, pngs(count, lambda label, k: f"{classes.index(label)}/{k}.png"))


def poisoned_npz(path: Path, count: int = 40) -> Path:
    """BadNets' square on test signs, as the zoo's model learned it."""
    from ngf.catalogue import build
    from ngf.config import Choice
    from ngf.evaluate import test_set

    triggered = test_set(load("signs"), build("attacks", Choice("badnets")), count).triggered
    images = triggered.data.images.permute(0, 2, 3, 1).numpy()
    labels = triggered.data.labels.numpy()
    np.savez(path, images=images, label=labels, target=triggered.wanted.numpy())
    return path
