"""A small drawing as text, short enough for a specification and for an address.

The bytes: (height - 1) 16 + (width - 1); the number of colors, at most 255; the colors as RGBA in
the order in which they first appear, row by row; for every pixel the number of its color, in as few
bits as the largest number needs, high bits first. Where the pixels as they are would be no longer
(RGBA, row by row), they follow a number of colors of 0. Written in base64 for addresses, without
padding.

A drawing has exactly one text, whatever program wrote it (a packed PNG would have many), so the
same drawing names the same run; and no text can expand to more than 16x16 pixels. No torch here:
the web server uses this, too.
"""

from __future__ import annotations

import base64
import binascii
import functools

import numpy as np

from ngf.options import SpecError

LARGEST = 16  # pixels on a side
LONGEST = 1368  # characters of the longest text: 16x16 pixels, all of different colors
_HINT = "Paint one in the trigger studio, or leave the option out."


def encode(pixels: np.ndarray) -> str:
    """The text of a drawing: uint8 (h, w, 4), RGBA; what cannot be seen has no color. Raises
    SpecError.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 4:
        raise ValueError(f"A drawing is uint8 (h, w, 4), not {pixels.dtype} {pixels.shape}.")
    height, width = pixels.shape[:2]
    if not (1 <= height <= LARGEST and 1 <= width <= LARGEST):
        raise SpecError(
            f"A drawing of {height}x{width} pixels is out of range. Allowed: 1x1 to "
            f"{LARGEST}x{LARGEST}."
        )
    flat = np.where(pixels[:, :, 3:] > 0, pixels, 0).reshape(-1, 4).astype(np.uint8)
    _, first, number = np.unique(flat, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    colors, number = flat[first[order]], np.argsort(order)[number.reshape(-1)]
    bits = _bits(len(colors))
    packed = np.packbits((number[:, None] >> np.arange(bits)[::-1]) & 1).tobytes()
    head = bytes([(height - 1) * 16 + width - 1])
    if 4 * len(colors) + len(packed) < 4 * len(flat):
        raw = head + bytes([len(colors)]) + colors.tobytes() + packed
    else:
        raw = head + b"\0" + flat.tobytes()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@functools.lru_cache(maxsize=64)
def decode(text: str) -> np.ndarray:
    """The drawing of a text, uint8 (h, w, 4), RGBA, read-only. Raises SpecError when `encode`
    gives no such text.
    """
    if len(text) > LONGEST:
        raise SpecError(
            f"The text of a drawing has {LONGEST} characters at most, this one {len(text)}. {_HINT}"
        )
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        pixels = _unpack(raw)
    except (binascii.Error, ValueError, IndexError):
        raise SpecError(f"{_short(text)} is not the text of a drawing. {_HINT}") from None
    if encode(pixels) != text:  # the same picture under another name
        raise SpecError(
            f"{_short(text)} is not the text of a drawing as it is written here. {_HINT}"
        )
    pixels.setflags(write=False)
    return pixels


def _unpack(raw: bytes) -> np.ndarray:
    """Raises ValueError or IndexError for bytes that are no drawing."""
    height, width, count = raw[0] // 16 + 1, raw[0] % 16 + 1, raw[1]
    data = np.frombuffer(raw, np.uint8, offset=2)
    if count == 0:
        return data.reshape(height, width, 4).copy()
    colors, packed = data[: 4 * count].reshape(count, 4), data[4 * count :]
    bits = _bits(count)
    if len(packed) != (height * width * bits + 7) // 8:
        raise ValueError
    places = (
        np.unpackbits(packed, count=height * width * bits).reshape(height * width, bits).astype(int)
    )
    return colors[places @ (1 << np.arange(bits)[::-1])].reshape(height, width, 4)


def _bits(colors: int) -> int:
    return (colors - 1).bit_length()


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:39] + "…")
