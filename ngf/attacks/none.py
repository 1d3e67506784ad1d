"""No attack: the benign model that every backdoored one is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ngf.attacks.base import Attack


@dataclass(frozen=True, kw_only=True)
class NoAttack(Attack):
    """No trigger and no poisoned image: a benign model."""

    title: ClassVar[str] = "None (benign)"
    # Constants, where other attacks have options: there is nothing to choose.
    poison_rate: ClassVar[float] = 0.0  # type: ignore[misc]
    target: ClassVar[int] = 0  # type: ignore[misc]

    def apply(self, images: Tensor) -> Tensor:
        return images.clone()
