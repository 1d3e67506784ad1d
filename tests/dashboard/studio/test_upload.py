"""Pictures that a visitor sends: made small, or refused."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from dashboard.studio.upload import drawing_of
from ngf.attacks.shared.drawing import decode, encode
from tests.helpers.drawings import picture


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is huge."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        (picture((64, 64)), (8, 8, 4)),
        (picture((100, 50), "JPEG"), (4, 8, 4)),
        (picture((3, 900)), (8, 1, 4)),
        (picture((40, 40), "PNG", "RGBA", (1, 2, 3, 0)), (8, 8, 4)),
        (picture((9, 9), "PNG", "L", 77), (8, 8, 4)),
        (picture((1, 1)), (8, 8, 4)),
    ],
)
def test_a_picture_becomes_a_small_drawing(data, shape):
    pixels = drawing_of(data, 8).made
    assert pixels.shape == shape and pixels.dtype == np.uint8
    assert np.array_equal(decode(encode(pixels))[:, :, 3], pixels[:, :, 3])


def test_what_cannot_be_seen_does_not_shine_through():
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 255))
    image.paste((0, 255, 0, 0), (2, 0, 4, 4))
    file = io.BytesIO()
    image.save(file, "PNG")
    assert drawing_of(file.getvalue(), 1).made[0, 0].tolist() == [255, 0, 0, 128]


def test_a_picture_is_upright_and_its_grays_are_those_of_its_sixteen_bits():
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.new("RGB", (40, 20)).save(file, "JPEG", exif=exif)
    assert drawing_of(file.getvalue(), 8).made.shape == (8, 4, 4)
    file, ramp = io.BytesIO(), np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(file, "PNG")
    made = drawing_of(file.getvalue(), 8).made[..., 0]
    assert np.abs(made.astype(float) - ramp / 257).max() <= 1


def test_of_an_animation_the_first_picture_is_taken_and_it_is_said():
    file, frames = io.BytesIO(), [Image.new("RGB", (8, 8), name) for name in ("red", "blue")]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    drawing = drawing_of(file.getvalue(), 2)
    assert drawing.several and drawing.made[0, 0].tolist() == [255, 0, 0, 255]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty. Allowed: PNG, JPEG, WebP, GIF and BMP, 2 MB or less"),
        (b"nothing", "not an image. Allowed: PNG"),
        (b"GIF89a" + bytes(100), "damaged: "),
        (picture((20, 20), "TIFF"), "TIFF, not PNG, JPEG, WebP, GIF or BMP. Allowed: PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript, not PNG"),
        (picture((300, 300))[:200], "damaged: "),
        (bomb(2001, 2000), "too many pixels: 2001x2000; 4,000,000 are the limit"),
        (bomb(60_000, 60_000), "too many pixels"),
        (bomb(100, 100), "damaged: "),
        (bytes(3 * 2**20), "too large: 3.0 MB; 2 MB are the limit"),
    ],
)
def test_a_picture_that_is_none_or_too_large_is_refused(data, words):
    with pytest.raises(ValueError, match=words):
        drawing_of(data, 8)
