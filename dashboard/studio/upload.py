"""Turns a picture from a visitor into a drawing: checks its format and size, and scales it down.
No torch.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from ngf.outside.pictures import NotRead, Picture, names_of, read

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
MOST_MEGABYTES = 2  # of the file; it is made as small as the grid anyway
MOST_PIXELS = 4_000_000  # in the picture that is sent: 16 MB once unpacked
ALLOWED = f"{names_of(FORMATS)}, {MOST_MEGABYTES} MB or less, {MOST_PIXELS:,} pixels or fewer"


def drawing_of(data: bytes, side: int) -> Picture[np.ndarray]:
    """The drawing of a picture, uint8 (h, w, 4), RGBA, its longer side `side` pixels. Raises
    ValueError with words for the visitor.

    Only the header is read before the size is known, so a small file cannot unpack to a large
    picture.
    """

    def small(picture: Image.Image) -> np.ndarray:
        longer = max(picture.size)
        width, height = (max(1, round(side * length / longer)) for length in picture.size)
        # Colors are averaged weighted by opacity, so that what cannot be seen does not shine
        # through.
        made = picture.convert("RGBa").resize((width, height), Image.Resampling.BOX)
        return np.array(made.convert("RGBA"), np.uint8)

    try:
        return read(
            data,
            small,
            "RGBA",
            formats=FORMATS,
            most_pixels=MOST_PIXELS,
            most_bytes=MOST_MEGABYTES * 2**20,
        )
    except NotRead as error:
        raise ValueError(
            f"The picture cannot be used: {error}. Allowed: {ALLOWED}. Save it again, or choose "
            "another one."
        ) from None
