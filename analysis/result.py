"""What a measurement yields while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

Value = float | int | str | None


@dataclass(frozen=True, kw_only=True)
class Partial:
    """A result so far.

    values: numbers and texts, ready for JSON; None stands for what is not known yet.
    arrays: without NaN. Shapes may grow from one partial result to the next.
    fraction: share of the work that is done, in [0, 1].
    done: True for the last partial result only.
    """

    values: Mapping[str, Value]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    fraction: float = 0.0
    done: bool = False
