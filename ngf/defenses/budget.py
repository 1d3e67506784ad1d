"""What a paper or its public code gives a defense: the settings that the defaults stand beside.

No torch: forms and the command line use this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Budget:
    """The settings of a paper, of a plug-in's class attribute `paper`.

    source: whose numbers these are, on how many clean images, and what of them is not here.
    options: option -> value; what is not named there has its default.
    """

    source: str
    options: Mapping[str, Any]
