"""Who is measured, and what a measurement has found of it so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from dashboard.charts.style import MODELS, Mark, lane_mark
from dashboard.charts.titles import lane_title


@dataclass(frozen=True)
class Subject:
    """A model: benign, backdoored, imported (nobody knows which of both), or what a defense (by its
    lane) has made of one.
    """

    role: Literal["benign", "backdoored", "imported", "purified"]
    lane: str = ""

    @property
    def title(self) -> str:
        """`Benign`, `Backdoored` or `Purified by NGF`"""
        if self.role == "purified":
            return f"Purified by {lane_title(self.lane)}"
        return self.role.capitalize()

    @property
    def phrase(self) -> str:
        """What it is called inside a sentence."""
        if self.role == "purified":
            return f"the model purified by {lane_title(self.lane)}"
        return f"the {self.role} model"

    @property
    def mark(self) -> Mark:
        """A purified model is drawn as the method that made it."""
        if self.role == "purified":
            return lane_mark(self.lane)
        return MODELS["backdoored" if self.role == "imported" else self.role]


BENIGN, BACKDOORED, IMPORTED = Subject("benign"), Subject("backdoored"), Subject("imported")


@dataclass(frozen=True)
class Measured:
    """What one measurement of one model has to say so far."""

    subject: Subject
    values: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]
