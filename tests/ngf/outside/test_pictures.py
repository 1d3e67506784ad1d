"""The decoder of pictures from outside: every kind becomes an image, or one sentence."""

from __future__ import annotations

import io
import os
import random
import struct
import subprocess
import sys
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from ngf.outside.pictures import FORMATS, NotRead, kind_of, read, refusal
from ngf.places import ROOT

RAMP = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
GRAY = ((RAMP.astype(float) * 255 / 65535) + 0.5).astype(np.uint8)
NOISE = np.random.default_rng(0).integers(0, 256, (24, 36, 3), np.uint8)


def encoded(image: Image.Image, format: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, raw: bytes, depth: int = 8, kind: int = 2, more: bytes = b""):
    """A PNG whose header says so, whatever `raw` is."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = chunk(b"IHDR", header) + more + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def array(source, mode="RGB", **options) -> np.ndarray:
    return read(source, np.asarray, mode, **options).made


@pytest.mark.parametrize(
    "data",
    [
        encoded(Image.fromarray(RAMP)),
        encoded(Image.fromarray(RAMP), "TIFF"),
        b"P5 8 8 65535\n" + RAMP.astype(">u2").tobytes(),
        encoded(Image.frombytes("I;16B", (8, 8), RAMP.astype(">u2").tobytes()), "TIFF"),
    ],
)
def test_sixteen_bits_are_scaled_and_not_cut_off(data):
    found = read(data, np.asarray, "L")
    assert found.mode == "L"
    assert np.abs(found.made.astype(int) - GRAY).max() <= 1
    assert np.array_equal(array(data)[..., 2], found.made)


def test_sixteen_bits_of_color_and_what_is_clear_in_them():
    raw = b"\0" + struct.pack(">6H", 40000, 1, 2, 65535, 65535, 0)
    data = png(2, 1, raw, 16, 2, chunk(b"tRNS", struct.pack(">3H", 40000, 1, 2)))
    assert array(data, "RGBA").tolist() == [[[156, 0, 0, 0], [255, 255, 0, 255]]]
    assert array(data).tolist() == [[[255, 255, 255], [255, 255, 0]]]
    clear = encoded(Image.fromarray(RAMP), transparency=int(RAMP[3, 3]))
    assert (array(clear, "RGBA")[..., 3] == 0).sum() == 1 and array(clear, "L")[3, 3] == 255


@pytest.mark.parametrize(
    ("image", "options", "color"),
    [
        (Image.new("RGB", (3, 5), (10, 20, 30)), {}, (10, 20, 30)),
        (Image.new("L", (3, 5), 77), {}, (77, 77, 77)),
        (Image.new("1", (3, 5), 1), {}, (255, 255, 255)),
        (Image.new("LA", (3, 5), (0, 0)), {}, (255, 255, 255)),
        (Image.new("RGBA", (3, 5), (255, 0, 0, 0)), {}, (255, 255, 255)),
        (Image.new("RGBA", (3, 5), (0, 0, 0, 51)), {}, (204, 204, 204)),
        (Image.new("RGB", (3, 5), (0, 0, 0)).quantize(2), {"transparency": 0}, (255, 255, 255)),
        (Image.new("RGB", (3, 5), (0, 0, 0)).quantize(2), {"transparency": b"\0"}, (255,) * 3),
        (Image.new("CMYK", (3, 5), (0, 255, 0, 0)), {"format": "TIFF"}, (255, 0, 255)),
        (Image.new("CMYK", (3, 5), (0, 0, 0, 255)), {"format": "JPEG"}, (0, 0, 0)),
        (Image.new("YCbCr", (3, 5), (255, 128, 128)), {"format": "TIFF"}, (255, 255, 255)),
        (Image.new("RGB", (3, 5), (0, 0, 0)).quantize(2), {"format": "GIF"}, (0, 0, 0)),
        (Image.new("RGB", (3, 5), (9, 8, 7)), {"format": "BMP"}, (9, 8, 7)),
        (
            Image.new("RGBA", (3, 5), (9, 8, 7, 255)),
            {"format": "WEBP", "lossless": True},
            (9, 8, 7),
        ),
    ],
)
def test_every_color_mode_becomes_rgb_on_white(image, options, color):
    found = read(encoded(image, **{"format": "PNG", **options}), np.asarray)
    assert found.size == (3, 5) and found.made.shape == (5, 3, 3)
    assert np.abs(found.made.astype(int) - color).max() <= 1
    for mode, channels in (("L", ()), ("RGBA", (4,))):
        made = array(encoded(image, **{"format": "PNG", **options}), mode)
        assert made.shape == (5, 3, *channels)


@pytest.mark.parametrize("mode", ["F", "I", "LAB"])
def test_pixels_without_a_known_white_are_refused(mode):
    with pytest.raises(NotRead, match=f"^pixels of mode {mode}, not gray or color of 8 or 16 bits"):
        read(encoded(Image.new(mode, (3, 5)), "TIFF"), np.asarray)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("tag", range(1, 9))
def test_pictures_are_upright(format, tag):
    """The tag says how the camera was held: what is upright is blue above and red below."""
    upright = Image.new("RGB", (16, 32), "blue")
    upright.paste((255, 0, 0), (0, 16, 16, 32))
    upright.paste((0, 255, 0), (0, 0, 8, 16))
    back = {  # undoes what the tag asks for
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    lying = upright.transpose(back[tag]) if tag in back else upright
    exif = Image.Exif()
    exif[0x0112] = tag
    made = read(encoded(lying, format, exif=exif, quality=100), np.asarray)
    assert made.size == (16, 32)
    assert np.abs(made.made.astype(int) - np.asarray(upright)).mean() < 12
    if format == "PNG":
        gray = Image.fromarray(np.asarray(lying)[..., 2].astype(np.uint16) * 257)
        assert np.array_equal(array(encoded(gray, exif=exif), "L"), np.asarray(upright)[..., 2])


def test_a_picture_with_a_broken_tag_is_taken_as_it_lies():
    data = encoded(Image.fromarray(NOISE), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert np.array_equal(array(data), NOISE)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_several_pictures_the_first_is_taken_and_it_is_said(format):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "lime", "blue")]
    found = read(encoded(frames[0], format, save_all=True, append_images=frames[1:]), np.asarray)
    assert found.several and np.abs(found.made.astype(int) - (255, 0, 0)).max() <= 3
    assert not read(encoded(frames[0], format), np.asarray).several


def test_what_was_read_before_is_read_the_same():
    """Eight bits, upright: bit for bit what Pillow gives; a JPEG made small is drafted."""
    for image in (Image.fromarray(NOISE), Image.fromarray(NOISE[..., 0])):
        for format in ("PNG", "BMP", "PPM", "TIFF", "JPEG", "WEBP"):
            data = encoded(image, format)
            with Image.open(io.BytesIO(data)) as opened:
                wanted = np.asarray(opened.convert("RGB"))
            assert np.array_equal(array(data), wanted), format
    large = encoded(Image.fromarray(NOISE).resize((800, 600)), "JPEG")
    found = read(large, lambda image: image.size, near=40)
    assert found.made == (200, 150) and found.size == (800, 600)


@pytest.mark.parametrize("format", FORMATS)
def test_what_it_is_says_its_beginning_and_not_its_name(format, tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(encoded(Image.fromarray(NOISE), format))
    assert kind_of(path.read_bytes()[:32]) == format and refusal(path.read_bytes()[:32]) == ""
    assert array(path).shape == NOISE.shape
    others = tuple(name for name in FORMATS if name != format)
    with pytest.raises(NotRead, match=rf"^{'WebP' if format == 'WEBP' else format}, not "):
        read(path, np.asarray, formats=others)


REFUSED = {
    "empty": (b"", "empty"),
    "text": (b"hello", "not an image"),
    "zeros": (bytes(100), "not an image"),
    "pdf": (b"%PDF-1.7\n", "a PDF, not JPEG, PNG"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing, not"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC picture, not"),
    "avif": (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "an AVIF picture, not"),
    "zip": (b"PK\3\4" + bytes(100), "a ZIP archive, not"),
    "icon": (b"\0\0\1\0\1\0", "an icon, not"),
    "cut png": (encoded(Image.fromarray(NOISE))[:-300], "damaged: "),
    "cut jpeg": (encoded(Image.fromarray(NOISE), "JPEG")[:-300], "damaged: "),
    "cut gif": (encoded(Image.fromarray(NOISE), "GIF")[:-300], "damaged: "),
    "cut webp": (encoded(Image.fromarray(NOISE), "WEBP")[:-300], "damaged: "),
    "cut bmp": (encoded(Image.fromarray(NOISE), "BMP")[:-300], "damaged: "),
    "cut head": (b"\x89PNG\r\n\x1a\n", "damaged: "),
    "jpeg head": (b"\xff\xd8\xff" + bytes(20), "damaged: "),
    "gif head": (b"GIF89a" + bytes(30), "damaged: "),
    "no pixels": (png(0, 5, b""), "damaged: "),
    "few pixels": (png(100, 100, bytes(10)), "damaged: "),
    "text bomb": (
        png(1, 1, bytes(4), more=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(80 << 20)))),
        "damaged: ",
    ),
    "wide bomb": (png(60_000, 60_000, b""), "too many pixels: 50,000,000 are the limit"),
    "large bomb": (png(9000, 9000, b""), "too many pixels: 9000x9000; 50,000,000 are the limit"),
    "warned bomb": (png(12_000, 12_000, b""), "too many pixels: 12000x12000; "),
    "pfm": (b"PF\n2 2\n-1.0\n" + bytes(48), "not an image|pixels of mode F"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_is_one_sentence(name):
    data, words = REFUSED[name]
    with pytest.raises(NotRead, match=f"^(?:{words})") as error:
        read(data, np.asarray)
    assert len(str(error.value)) < 150 and str(error.value).isprintable()


def test_bytes_have_a_limit(tmp_path):
    path = tmp_path / "a.bmp"
    with open(path, "wb") as file:
        file.write(b"BM")
        file.truncate(2**40)  # holds nothing
    with pytest.raises(NotRead, match=r"^too large: 1,048,576\.0 MB; 191 MB are the limit"):
        read(path, np.asarray)
    with pytest.raises(NotRead, match="^too large: 0.0 MB"):
        read(bytes(3000), np.asarray, most_bytes=2000)


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "circle.png").symlink_to("circle.png")
    for name, words in {
        "pipe.png": "no file but a folder, a pipe or a device",
        "circle.png": "cannot be opened: too many levels",
        "nothing.png": "not found",
        ".": "no file but",
        "a" * 300: "cannot be opened: file name too long",
        "/dev/zero": "no file but",
    }.items():
        with pytest.raises(NotRead, match=f"^{words}"):
            read(tmp_path / name, np.asarray)


def test_no_other_program_is_started(tmp_path):
    """A PostScript file named like a picture, and a Ghostscript that would tell of its start."""
    told = tmp_path / "told"
    for name in ("gs", "gswin32c", "gswin64c"):
        (tmp_path / name).write_text(f"#!/bin/sh\ntouch {told}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "z.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n%%EOF\n"
    )
    code = (
        "import sys; from pathlib import Path; from ngf.outside.pictures import read\n"
        "try: read(Path(sys.argv[1]), lambda image: None)\n"
        "except ValueError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "z.png")],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith("PostScript, not JPEG"), done.stderr
    assert not told.exists()


def originals() -> dict[str, bytes]:
    """Small files of every format that is read."""
    image, gray = Image.fromarray(NOISE), Image.fromarray(RAMP)
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = {"save_all": True, "append_images": [image.rotate(90), image.rotate(180)]}
    clear = image.convert("RGBA")
    clear.putalpha(99)
    return {
        "png": encoded(image),
        "png of 16 bits": encoded(gray, transparency=5),
        "png with a palette": encoded(image.quantize(16), transparency=b"\0\x80"),
        "png that moves": encoded(image, **frames),
        "jpeg": encoded(image, "JPEG", exif=exif),
        "progressive jpeg": encoded(image, "JPEG", progressive=True),
        "cmyk jpeg": encoded(image.convert("CMYK"), "JPEG"),
        "gif": encoded(image, "GIF"),
        "gif that moves": encoded(image, "GIF", **frames),
        "webp": encoded(clear, "WEBP", lossless=True, exif=exif),
        "webp that moves": encoded(image, "WEBP", **frames),
        "bmp": encoded(image, "BMP"),
        "bmp with a palette": encoded(image.quantize(16), "BMP"),
        "ppm": encoded(image, "PPM"),
        "plain ppm": b"P3 2 2 255\n" + b"1 2 3 " * 4,
        "tiff": encoded(image, "TIFF", compression="tiff_lzw", exif=exif),
        "tiff of 16 bits": encoded(gray, "TIFF"),
    }


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The file with bytes changed, cut, doubled, taken away or set to extremes."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        # Headers are at the beginning: every second change is there.
        at = rng.randrange(min(len(out), 64) if rng.random() < 0.5 else len(out)) if out else 0
        kind = rng.randrange(6)
        if kind == 0 and out:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and out:
            out[at] = rng.choice((0, 1, 127, 128, 254, 255))
        elif kind == 2:
            del out[at : at + rng.choice((1, 4, 40))]
        elif kind == 3:
            out[at:at] = out[max(0, at - rng.choice((1, 8, 60))) : at]
        elif kind == 4:
            out[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4)))
        elif rng.random() < 0.3:
            del out[at:]
    return bytes(out)


@pytest.mark.parametrize("name", originals())
def test_a_mutated_file_is_an_image_or_one_sentence(name):
    """Warnings are errors here. Forty mutations of each of seventeen files."""
    rng, original = random.Random(name), originals()[name]
    assert array(original).shape[2] == 3
    for _ in range(40):
        data = mutated(original, rng)
        try:
            made = read(data, np.asarray, rng.choice(("RGB", "L", "RGBA")), most_pixels=4_000_000)
        except NotRead as error:
            assert str(error) and len(str(error)) < 150 and str(error).isprintable()
        else:
            assert made.made.dtype == np.uint8 and made.made.size > 0


def test_threads_that_decode_together_leave_warnings_as_they_were():
    before = list(warnings.filters)
    data = [mutated(original, random.Random(1)) for original in originals().values()]

    def work() -> None:
        for one in data * 3:
            try:
                read(one, np.asarray, most_pixels=4_000_000)
            except NotRead:
                continue

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before
