"""An image as text that a browser shows."""

from __future__ import annotations

import base64
import functools
import io

import numpy as np
from PIL import Image

_LARGEST = 96  # pixels on a side; larger images are made smaller for the page


def source(image: np.ndarray) -> str:
    """An image, uint8 (H, W, 3), as the source of an <img>: a data URL of a PNG."""
    return _png(np.ascontiguousarray(image).tobytes(), image.shape)


@functools.lru_cache(maxsize=2000)
def _png(raw: bytes, shape: tuple[int, ...]) -> str:
    picture = Image.fromarray(np.frombuffer(raw, np.uint8).reshape(shape))
    picture.thumbnail((_LARGEST, _LARGEST))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
