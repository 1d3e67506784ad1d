"""Clean images that came with an imported model (see `ngf.imports`), as the model wants them: in
its size, with its classes. Each import has a folder of its own, named by what lies in it.

All are the defender's: a part, evenly over the classes, is kept to measure on, and no defense sees
it. There are no training images; they were somebody else's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ngf.data.images import DataError, Images
from ngf.options import option
from ngf.places import imports_dir
from ngf.progress import Progress, quiet

IMAGES, FACTS = "images.safetensors", "facts.json"
POOLS = ("holdout", "test")
TRIGGERED = ("images", "labels", "wanted")  # true classes, and what the attacker wants
_ADVICE = "Import the model once more, with the same images."


@dataclass(frozen=True, kw_only=True)
class Mine:
    """Images that came with an imported model."""

    title: ClassVar[str] = "Images of an imported model"
    note: ClassVar[dict[str, Any]] = {
        "source": "whoever imported the model",
        "license": "theirs to know",
        "imported": True,
        "advice": "They come with a model: `ngf import`, or the page My model.",
    }
    content: str = option("", "What lies in the folder: part of the name of the import.")

    @property
    def _folder(self) -> Path:
        if not (self.content.isalnum() and len(self.content) <= 64):
            raise DataError(f"These images belong to an imported model. {_ADVICE}")
        return imports_dir() / self.content

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self._folder / FACTS).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(
                f"The images of this imported model are gone from {self._folder}: {error}. "
                f"{_ADVICE}"
            ) from None
        return found

    def prepare(self, pool: str, index: np.ndarray, progress: Progress = quiet) -> None:
        """They are there, or the import is not."""
        _ = self.facts

    def load(self, pool: str, index: np.ndarray) -> Images:
        """Images `index` of `pool` (holdout or test). Raises DataError."""
        if pool not in POOLS:
            raise DataError(
                "An imported model comes without its training images, so nothing is measured or "
                "computed on them. Choose clean test images."
            )
        rows = torch.from_numpy(np.asarray(index, np.int64))
        images, labels = self._read(f"{pool}.images", f"{pool}.labels")
        return Images(images[rows], labels[rows])

    def triggered(self) -> tuple[Images, Tensor] | None:
        """Images with the trigger that came along; None where none did."""
        if not self.facts.get("triggered"):
            return None
        images, labels, wanted = self._read(*(f"triggered.{name}" for name in TRIGGERED))
        return Images(images, labels), wanted

    def _read(self, *names: str) -> list[Tensor]:
        try:
            with safe_open(self._folder / IMAGES, "pt") as file:
                return [file.get_tensor(name) for name in names]
        except (SafetensorError, OSError) as error:
            raise DataError(
                f"The images of this imported model cannot be read from {self._folder}: {error}. "
                f"{_ADVICE}"
            ) from None
