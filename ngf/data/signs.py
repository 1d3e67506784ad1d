"""Procedural traffic signs: the embedded data set, with no download and no license.

Twelve classes, 32x32 RGB. Every class is drawn once as a vector shape (`_shapes`); every image is
that shape under its own perspective, light, shadow, background, blur and noise, all from one seed.
Images are made in blocks of 1,000, each from a generator of its own, so any part of any pool can be
made alone and is kept in the cache.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ngf.data.images import Images, to_bytes
from ngf.data.shared import signs_art
from ngf.places import cache_dir
from ngf.progress import Progress, quiet

SIZE = 32  # pixels on a side
BLOCK = 1000  # images that are rendered, and kept in a file, at once
# Raise it when the drawing changes, so that no cache serves old pictures.
VERSION = 2
_BLOCKS = 10_000  # above any number of blocks: no two pairs (pool, block) share a seed
_POOL_SEED = {"train": 1, "holdout": 2, "test": 3}


@dataclass(frozen=True, kw_only=True)
class Signs:
    """Procedural traffic signs, 12 classes, drawn on the spot; nothing to download."""

    title: ClassVar[str] = "Traffic signs (built in)"
    facts: ClassVar[dict[str, Any]] = {
        "classes": list(signs_art.SIGNS),
        "shape": [3, SIZE, SIZE],
        "pools": {"train": 50_000, "holdout": 3_000, "test": 2_400},
        "block": BLOCK,
        # A mirrored "turn left" is a "turn right", a mirrored digit is no digit.
        "survives_flip": [
            name in ("yield", "no entry", "priority road", "straight ahead", "warning")
            for name in signs_art.SIGNS
        ],
    }
    note: ClassVar[dict[str, Any]] = {"source": "drawn by this project", "license": "none needed"}

    def prepare(self, pool: str, index: np.ndarray, progress: Progress = quiet) -> None:
        """Nothing: they are drawn when asked for, and kept."""

    def load(self, pool: str, index: np.ndarray) -> Images:
        """Images `index` (int, increasing or not) of `pool` (train, holdout or test)."""
        index = np.asarray(index)
        images = np.empty((len(index), 3, SIZE, SIZE), np.uint8)
        labels = np.empty(len(index), np.int64)
        for block in np.unique(index // BLOCK):
            pixels, classes = _cached_block(pool, int(block))
            rows = np.flatnonzero(index // BLOCK == block)
            images[rows], labels[rows] = pixels[index[rows] % BLOCK], classes[index[rows] % BLOCK]
        return Images(torch.from_numpy(images), torch.from_numpy(labels))


def _cached_block(pool: str, block: int) -> tuple[np.ndarray, np.ndarray]:
    path = cache_dir() / "signs" / f"v{VERSION}-{pool}-{block:03d}.npz"
    if path.exists():
        with np.load(path) as kept:
            return kept["images"], kept["labels"]
    made = render(BLOCK, seed=_POOL_SEED[pool] * _BLOCKS + block)
    images, labels = made.images.numpy(), made.labels.numpy()
    _write(path, images, labels)
    return images, labels


def _write(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".npz.tmp")
    with os.fdopen(handle, "wb") as file:
        np.savez(file, images=images, labels=labels)
    os.replace(temporary, path)


def render(count: int, seed: int) -> Images:
    """Draw `count` signs of all classes in turn, in random order. Same seed, same pictures."""
    rng = torch.Generator().manual_seed(seed)
    labels = (torch.arange(count) % len(signs_art.SIGNS))[torch.randperm(count, generator=rng)]
    grid, signs = _perspective(count, rng), torch.empty(count, 4, SIZE, SIZE)
    for label, template in enumerate(signs_art.templates()):
        rows = labels == label
        # Twice the final size first: averaging 2x2 pixels is the cheapest antialiasing.
        drawn = F.grid_sample(
            template.expand(int(rows.sum()), -1, -1, -1),
            grid[rows],
            mode="bilinear",
            padding_mode="zeros",
            align_corners=False,
        )
        signs[rows] = F.avg_pool2d(drawn, 2)
    color, opacity = signs[:, :3], signs[:, 3:]
    # Templates carry no color outside the sign; dividing by the opacity keeps edges from going
    # dark.
    color = color / opacity.clamp_min(1e-3)
    picture = _background(count, rng) * (1 - opacity) + color.clamp(0, 1) * opacity
    picture = _light(picture, rng)
    picture = _blur(picture, rng)
    noise = torch.randn(picture.shape, generator=rng) * _uniform(count, 0.005, 0.09, rng)
    return Images(to_bytes((picture + noise).clamp(0, 1)), labels)


def _uniform(count: int, low: float, high: float, rng: torch.Generator) -> Tensor:
    return torch.rand(count, 1, 1, 1, generator=rng) * (high - low) + low


def _perspective(count: int, rng: torch.Generator) -> Tensor:
    """Sampling grid (N, 64, 64, 2): rotation, scale, stretch, shear, shift and tilt of each
    sign.
    """

    def draw(low: float, high: float) -> Tensor:
        return torch.rand(count, generator=rng) * (high - low) + low

    angle, shear = draw(-0.3, 0.3), draw(-0.2, 0.2)
    scale_x, scale_y = draw(1.0, 1.9), draw(0.85, 1.15)
    cos, sin = angle.cos(), angle.sin()
    zeros, ones = torch.zeros(count), torch.ones(count)
    turn = torch.stack([cos, -sin, zeros, sin, cos, zeros, zeros, zeros, ones], -1).view(-1, 3, 3)
    shape = torch.stack(
        [
            scale_x,
            shear,
            draw(-0.22, 0.22),
            zeros,
            scale_x * scale_y,
            draw(-0.22, 0.22),
            draw(-0.16, 0.16),
            draw(-0.16, 0.16),
            ones,
        ],
        -1,
    ).view(-1, 3, 3)
    axis = (torch.arange(2 * SIZE) + 0.5) / SIZE - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    plane = torch.stack([x, y, torch.ones_like(x)]).view(3, -1)
    mapped = turn @ shape @ plane
    return (mapped[:, :2] / mapped[:, 2:]).transpose(1, 2).reshape(count, 2 * SIZE, 2 * SIZE, 2)


def _background(count: int, rng: torch.Generator) -> Tensor:
    """Sky above, road or field below, and soft patches of color: float (N, 3, 32, 32)."""

    def tone(red: float, green: float, blue: float) -> Tensor:
        gray, color = torch.randn(count, 1, generator=rng), torch.randn(count, 3, generator=rng)
        return (torch.tensor([red, green, blue]) + 0.15 * gray + 0.07 * color).view(-1, 3, 1, 1)

    sky, ground = tone(0.58, 0.69, 0.80), tone(0.38, 0.41, 0.31)
    axis = torch.linspace(-1, 1, SIZE).view(1, 1, -1, 1)
    horizon = torch.sigmoid((axis - _uniform(count, -0.6, 0.9, rng)) * _uniform(count, 2, 9, rng))
    base = sky * (1 - horizon) + ground * horizon
    for cells, strength in ((4, 0.12), (9, 0.07)):
        gray = torch.randn(count, 1, cells, cells, generator=rng)
        patches = gray + 0.35 * torch.randn(count, 3, cells, cells, generator=rng)
        base = base + strength * F.interpolate(
            patches, (SIZE, SIZE), mode="bicubic", align_corners=True
        )
    return base.clamp(0, 1)


def _light(picture: Tensor, rng: torch.Generator) -> Tensor:
    """Brightness, contrast, color of the light, and the soft edge of a shadow."""
    count = len(picture)
    axis = torch.linspace(-1, 1, SIZE)
    angle, offset = _uniform(count, 0, 6.2832, rng), _uniform(count, -0.9, 0.9, rng)
    across = axis.view(1, 1, 1, -1) * angle.cos() + axis.view(1, 1, -1, 1) * angle.sin() - offset
    shadow = 1 - _uniform(count, 0, 0.6, rng) * torch.sigmoid(across * _uniform(count, 4, 18, rng))
    tint = 1 + 0.05 * torch.randn(count, 3, 1, 1, generator=rng)
    picture = (picture - 0.5) * _uniform(count, 0.4, 1.15, rng) + 0.5
    return (picture * shadow * tint * _uniform(count, 0.7, 1.2, rng)).clamp(0, 1)


def _blur(picture: Tensor, rng: torch.Generator) -> Tensor:
    """One of three levels of blur: none, slight, strong."""
    level = torch.randint(0, 3, (len(picture),), generator=rng)
    for chosen, taps in ((1, [0.15, 0.7, 0.15]), (2, [0.13, 0.23, 0.28, 0.23, 0.13])):
        rows = level == chosen
        kernel = torch.tensor(taps)
        kernel = torch.outer(kernel, kernel).expand(3, 1, -1, -1)
        padded = F.pad(picture[rows], [len(taps) // 2] * 4, mode="replicate")
        picture[rows] = F.conv2d(padded, kernel, groups=3)
    return picture
