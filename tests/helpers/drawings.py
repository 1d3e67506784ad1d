"""Drawings for tests of the trigger studio and of its attack."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def random_drawing(rng: np.random.Generator, colors: int | None = None) -> np.ndarray:
    """A drawing of random size; what cannot be seen has no color."""
    height, width = rng.integers(1, 17, 2)
    palette = rng.integers(0, 256, (colors or int(rng.integers(1, 60)), 4)).astype(np.uint8)
    pixels = palette[rng.integers(0, len(palette), (height, width))]
    return np.where(pixels[:, :, 3:] > 0, pixels, 0).astype(np.uint8)


def picture(
    size: tuple[int, int], kind: str = "PNG", mode: str = "RGB", color=(200, 30, 90)
) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, color).save(file, kind)
    return file.getvalue()
