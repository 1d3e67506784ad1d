"""What the owner of a folder of images says of it, in a file dataset.json beside the images."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ngf.data.images import DataError
from ngf.outside.listing import shown, text_of

NAME = "dataset.json"
SIZES = (16, 256)  # smallest and largest side of an image in pixels
_MOST_BYTES = 2**20  # a list of a thousand classes is far below
_MODES = {"rgb": "RGB", "gray": "L"}


@dataclass(frozen=True)
class Settings:
    """size: side that images are resized to; color: rgb or gray, what they are converted to;
    mirror: whether a class survives a mirror, for all classes or the names of those that do. None:
    not said.

    `{"size": 64, "color": "rgb", "mirror": ["tree", "house"]}`
    """

    size: int | None = None
    color: str | None = None
    mirror: bool | tuple[str, ...] | None = None

    @property
    def mode(self) -> str | None:
        """Pillow's name of the color: RGB or L."""
        return self.color and _MODES[self.color]

    def survives_flip(self, classes: Sequence[str], default: bool) -> list[bool]:
        """For each class whether its mirror image is of the same class."""
        if isinstance(self.mirror, tuple):
            return [name in self.mirror for name in classes]
        return [default if self.mirror is None else self.mirror] * len(classes)

    @classmethod
    def read(cls, root: Path) -> Settings:
        """The settings in `root`, or none. Raises DataError with what is allowed."""
        path = root / NAME
        place = shown(str(path))
        if not os.path.lexists(path):
            return cls()
        try:
            given = json.loads(text_of(path, _MOST_BYTES))
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(
                f"{place} cannot be read as JSON ({error}). Correct it, or delete it."
            ) from error
        allowed = (
            f'Allowed: {{"size": {SIZES[0]} to {SIZES[1]}, "color": "rgb" or "gray", '
            '"mirror": true, false or a list of classes}.'
        )
        if not isinstance(given, dict) or not set(given) <= {"size", "color", "mirror"}:
            raise DataError(f"{place} holds {json.dumps(given)[:80]}. {allowed}")
        size, color, mirror = given.get("size"), given.get("color"), given.get("mirror")
        if isinstance(mirror, list) and all(isinstance(name, str) for name in mirror):
            mirror = tuple(mirror)
        checks = {
            "size": size is None or type(size) is int and SIZES[0] <= size <= SIZES[1],
            "color": color is None or isinstance(color, str) and color in _MODES,
            "mirror": mirror is None or isinstance(mirror, (bool, tuple)),
        }
        wrong = [name for name, right in checks.items() if not right]
        if wrong:
            raise DataError(f"{place}: {wrong[0]} is {json.dumps(given[wrong[0]])[:80]}. {allowed}")
        return cls(size, color, mirror)
