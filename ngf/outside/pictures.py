"""The one decoder of pictures that come from outside: from a folder of yours, from a visitor.

What a picture is, its first bytes say and never its name; only the formats of `FORMATS` are tried,
none of which starts another program. It comes out upright, with 8 bits a channel, and of several
pictures in one file the first. Whatever else is wrong with a file is one sentence.
"""

from __future__ import annotations

import io
import os
import re
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Generic, TypeVar

import numpy as np
from PIL import Image, ImageFile, ImageOps, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin

VERSION = 2  # raise it when decoding changes, so that no cache serves what an older one made
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "PPM", "TIFF")
_ = TiffImagePlugin, WebPImagePlugin  # Pillow would import its forty formats to find these two

# A picture takes 15 bytes a pixel at most while it is decoded. Of those above MANY_PIXELS one is
# decoded at a time, so that all workers together hold less than 1.3 GB.
MANY_PIXELS, MAX_PIXELS = 4_000_000, 50_000_000
MAX_BYTES = 4 * MAX_PIXELS  # of a file: the most pixels, uncompressed, with opacity
_ONE_AT_A_TIME = threading.Lock()

_EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV")
_SHOWN = 80  # characters of what Pillow says
_TIFF_BITS = 258  # the tag BitsPerSample
# How files begin: what is read, and what people take for it.
_BEGINNINGS = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "WEBP": rb"RIFF....WEBP",
    "GIF": rb"GIF8[79]a",
    "BMP": rb"BM",
    "PPM": rb"P[1-6][\s#]",
    "TIFF": rb"II[*+]\x00|MM\x00[*+]",
    "a PDF": rb"%PDF",
    "PostScript": rb"%!PS|\xc5\xd0\xd3\xc6",
    "a HEIC picture": rb"....ftyp(?:hei|hev|mif1)",
    "an AVIF picture": rb"....ftypavi",
    "a JPEG 2000 picture": rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51",
    "a JPEG XL picture": rb"\x00\x00\x00\x0cJXL |\xff\x0a",
    "a Photoshop document": rb"8BPS",
    "an SVG drawing": rb"\s*<svg",
    "XML, such as an SVG drawing": rb"\s*<\?xml",
    "an icon": rb"\x00\x00\x01\x00",
    "a ZIP archive": rb"PK\x03\x04",
    "a gzip archive": rb"\x1f\x8b",
}
_KINDS = {name: re.compile(start, re.DOTALL) for name, start in _BEGINNINGS.items()}
_T = TypeVar("_T")


class NotRead(ValueError):
    """A file that gives no picture; the message says why, in words that follow a name: `empty`."""


@dataclass(frozen=True)
class Picture(Generic[_T]):
    """What `read` made of a file.

    made: what the caller made of the picture.
    size: (width, height) in pixels, as the picture is seen.
    mode: the color mode of the file, as Pillow names it; that of 16-bit gray is L.
    several: the file holds more pictures than the one that was taken, such as an animation.
    """

    made: _T
    size: tuple[int, int]
    mode: str
    several: bool


def names_of(formats: tuple[str, ...]) -> str:
    """The formats as words: `JPEG, PNG and WebP`."""
    words = [_named(name) for name in formats]
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]


def _named(format: str) -> str:
    return "WebP" if format == "WEBP" else format


def kind_of(start: bytes) -> str:
    """What a file is by its first 32 bytes: one of `FORMATS`, or in words what else it is; empty
    where that is not known.
    """
    return next((name for name, begins in _KINDS.items() if begins.match(start)), "")


def refusal(start: bytes, formats: tuple[str, ...] = FORMATS) -> str:
    """Why a file that begins so is none of `formats`; empty where it seems to be one."""
    kind = kind_of(start)
    if kind in formats:
        return ""
    if not start:
        return "empty"
    return f"{_named(kind)}, not {_one_of(formats)}" if kind else "not an image"


def _one_of(formats: tuple[str, ...]) -> str:
    return names_of(formats).replace(" and ", " or ")


def start_of(path: Path) -> bytes:
    """The first bytes of a file, enough for `kind_of`. Raises NotRead."""
    with _file(path, MAX_BYTES) as file:
        try:
            return file.read(32)
        except OSError as error:
            raise NotRead(why_not(error)) from None


def read(
    source: Path | bytes,
    make: Callable[[Image.Image], _T],
    mode: str = "RGB",
    *,
    near: int | None = None,
    formats: tuple[str, ...] = FORMATS,
    most_pixels: int = MAX_PIXELS,
    most_bytes: int = MAX_BYTES,
) -> Picture[_T]:
    """The picture in `source`, a file or its bytes, upright, with 8 bits a channel, given to
    `make`. Raises NotRead.

    mode: RGB or L, in which what is transparent lies on white; or RGBA.
    near: the side in pixels that the picture will be made, if it is made smaller: a JPEG may then
        be decoded at half, a quarter or an eighth of its size.
    """
    with _quiet():
        try:
            with _file(source, most_bytes) as file:
                return _read(file, make, mode, near, formats, most_pixels)
        except NotRead:
            raise
        except UnidentifiedImageError:
            raise NotRead(_unidentified(source, formats)) from None
        except Image.DecompressionBombError:
            raise NotRead(f"too many pixels: {most_pixels:,} are the limit") from None


def _read(
    file: IO[bytes],
    make: Callable[[Image.Image], _T],
    mode: str,
    near: int | None,
    formats: tuple[str, ...],
    most_pixels: int,
) -> Picture[_T]:
    with _told():
        image = Image.open(file, formats=formats)
    with image:
        size, own = image.size, image.mode
        if near is not None:
            with _told():
                image.draft(None, (2 * near, 2 * near))
        pixels = image.width * image.height
        if pixels > most_pixels:
            raise NotRead(
                f"too many pixels: {image.width}x{image.height}; {most_pixels:,} are the limit"
            )
        # A progressive JPEG is held whole while it is decoded, however small it becomes.
        held = size[0] * size[1] if image.info.get("progressive") else pixels
        with _ONE_AT_A_TIME if held > MANY_PIXELS else nullcontext():
            with _told():
                image.load()
                white = 255 if image.mode in _EIGHT_BITS else _white(image)
                upright = _upright(image)
                turned = (upright.width > upright.height) != (image.width > image.height)
                flat = on_white(_eight_bits(upright, white), mode)
            made = make(flat)
        return Picture(
            made, size[::-1] if turned else size, _plain_mode(own), _holds_several(image)
        )


def _file(source: Path | bytes, most_bytes: int) -> IO[bytes]:
    """`source` opened for reading. A pipe or a device is not waited for. Raises NotRead."""
    if isinstance(source, bytes):
        if len(source) > most_bytes:
            raise NotRead(_too_large(len(source), most_bytes))
        return io.BytesIO(source)
    try:
        handle = os.open(
            source, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        )
    except OSError as error:
        raise NotRead(why_not(error)) from None
    about = os.fstat(handle)
    if stat.S_ISREG(about.st_mode) and about.st_size <= most_bytes:
        return os.fdopen(handle, "rb")
    os.close(handle)
    if stat.S_ISREG(about.st_mode):
        raise NotRead(_too_large(about.st_size, most_bytes))
    raise NotRead("no file but a folder, a pipe or a device")


def why_not(error: OSError) -> str:
    """Why a file cannot be opened, in words that follow its name."""
    if isinstance(error, FileNotFoundError):
        return "not found"
    words = error.strerror or str(error)
    return f"cannot be opened: {words[:1].lower()}{words[1:]}"


def _too_large(size: int, most: int) -> str:
    return f"too large: {size / 2**20:,.1f} MB; {most / 2**20:,.0f} MB are the limit"


def _unidentified(source: Path | bytes, formats: tuple[str, ...]) -> str:
    """Why Pillow does not know what it is: none of the formats, or one with a broken beginning."""
    why = refusal(source[:32] if isinstance(source, bytes) else start_of(source), formats)
    return why or "damaged: its beginning cannot be read"


@contextmanager
def _told() -> Iterator[None]:
    """Turns what Pillow raises for a file, which may be anything, into NotRead."""
    try:
        yield
    except (NotRead, UnidentifiedImageError, Image.DecompressionBombError):
        raise
    except Exception as error:  # noqa: BLE001  made-up files find every kind
        said = "".join(c if c.isprintable() else " " for c in str(error)).strip(" .")
        raise NotRead(f"damaged: {said[:_SHOWN] or type(error).__name__}") from error


def _white(image: ImageFile.ImageFile) -> int:
    """The number of white in a gray picture of more than 8 bits. Raises NotRead where nothing
    says it.
    """
    if image.mode.startswith("I;16"):
        bits = image.tag_v2.get(_TIFF_BITS, (16,))[0] if hasattr(image, "tag_v2") else 16
        return int(2 ** min(16, max(9, bits)) - 1)
    if image.mode == "I" and image.format == "PPM":
        return 65535
    raise NotRead(f"pixels of mode {image.mode}, not gray or color of 8 or 16 bits")


def _eight_bits(image: Image.Image, white: int) -> Image.Image:
    """The picture with 8 bits a channel; of 16 bits 65,535 is white, and not all above 255."""
    clear = image.info.get("transparency")
    if image.mode in _EIGHT_BITS:
        if isinstance(clear, tuple) and max(clear) > 255:  # 16 bits, of which Pillow keeps 8
            image.info["transparency"] = tuple(value >> 8 for value in clear)
        return image
    values = np.asarray(image).astype(np.int64).clip(0, white)
    gray = Image.fromarray(((values * 255 + white // 2) // white).astype(np.uint8))
    if isinstance(clear, int):  # the one gray that cannot be seen
        gray.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return gray


def _plain_mode(mode: str) -> str:
    return "L" if mode == "I" or mode.startswith("I;16") else mode


def _upright(image: Image.Image) -> Image.Image:
    """The picture turned by its EXIF tag; as it lies, where the tag cannot be read."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # noqa: BLE001  the tag says how to hold it, no more
        return image


def on_white(image: Image.Image, mode: str) -> Image.Image:
    """The picture in `mode`: RGB or L, with what is transparent on white; or RGBA."""
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        if mode != "RGBA":
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image).convert("RGB")
    return image.convert(mode)


def _holds_several(image: ImageFile.ImageFile) -> bool:
    """Whether more pictures follow the first. A photo with a preview of itself (MPO) has one."""
    try:
        return image.format != "MPO" and bool(getattr(image, "is_animated", False))
    except Exception:  # noqa: BLE001  what follows is damaged, and is not taken anyway
        return True


_quiet_lock = threading.Lock()
_quiet_users = 0
_spoken: warnings.catch_warnings[None] | None = None


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings of Pillow while any thread is in here; Python's own way is for one thread."""
    global _quiet_users, _spoken
    with _quiet_lock:
        if _quiet_users == 0:
            _spoken = warnings.catch_warnings()
            _spoken.__enter__()
            warnings.simplefilter("ignore")
        _quiet_users += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_users -= 1
            if _quiet_users == 0 and _spoken is not None:
                _spoken.__exit__(None, None, None)
