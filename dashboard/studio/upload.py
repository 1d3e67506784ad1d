"""Turns a picture from a visitor into a drawing: checks its format and size, and scales it down.
No torch.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

FORMATS = ("PNG", "JPEG")
MOST_MEGABYTES = 2  # of the file; it is made as small as the grid anyway
MOST_PIXELS = 4_000_000  # in the picture that is sent: 16 MB once unpacked
_WAYS_OUT = "Save it again as PNG or JPEG, or choose another one."


def drawing_of(data: bytes, side: int) -> np.ndarray:
    """The drawing of a picture, uint8 (h, w, 4), RGBA, its longer side `side` pixels. Raises
    ValueError with words for the visitor.

    Only the header is read before the size is known, so a small file cannot unpack to a large
    picture.
    """
    if len(data) > MOST_MEGABYTES * 2**20:
        raise ValueError(
            f"The file has {len(data) / 2**20:.1f} MB. Allowed: {MOST_MEGABYTES} MB or less."
        )
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            width, height = picture.size
            if width * height > MOST_PIXELS:
                raise ValueError(
                    f"The picture has {width}x{height} pixels. Allowed: {MOST_PIXELS:,} or fewer "
                    "in all."
                )
            # Colors are averaged weighted by opacity, so that what cannot be seen does not shine
            # through.
            small = picture.convert("RGBA").convert("RGBa")
    except UnidentifiedImageError:
        raise ValueError(
            f"The file is not a picture of a known kind. Allowed: {' and '.join(FORMATS)}."
        ) from None
    except (
        OSError,
        SyntaxError,
        EOFError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise ValueError(f"The picture cannot be read ({str(error)[:80]}). {_WAYS_OUT}") from None
    longer = max(width, height)
    size = (max(1, round(side * width / longer)), max(1, round(side * height / longer)))
    return np.array(small.resize(size, Image.Resampling.BOX).convert("RGBA"), np.uint8)
