"""Numbers that are none stop here: before anything is measured, saved or loaded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from ngf.options import Explained

OUTPUTS = "The outputs of the model are not finite numbers"


class Diverged(Explained, ArithmeticError):
    """What is trained is no longer made of finite numbers.

    what: the sentence, without its end.
    step: how many steps (or epochs, see `unit`) were made by then; None where only the caller
        knows.
    """

    kind = "diverged"
    advice = (
        "Start a new run with a smaller learning rate; the curves up to this step are kept with "
        "this one."
    )

    def __init__(
        self, what: str, step: int | None = None, *, unit: str = "step", advice: str = ""
    ) -> None:
        super().__init__(what, advice=advice)
        self.what, self.step, self.unit = what, step, unit

    def __str__(self) -> str:
        return f"{self.what}." if self.step is None else f"{self.what} at {self.unit} {self.step}."

    def at(self, step: int, unit: str = "step") -> Diverged:
        """The same with another step: what a part counts is not what the whole counts."""
        return Diverged(self.what, step, unit=unit, advice=self.advice)


def broken(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors that hold anything but finite numbers."""
    floats = {
        name: value
        for name, value in tensors.items()
        if value.is_floating_point() and value.numel()
    }
    # One number says for nearly all models that there is none; it takes a tenth of the time.
    largest = get_total_norm([value.detach() for value in floats.values()], math.inf)
    if math.isfinite(largest.item()):
        return []
    return [name for name, value in floats.items() if not bool(torch.isfinite(value).all())]


def some(names: list[str]) -> str:
    """`a, b, c and 2 more`; `nothing` for none."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more if names else "nothing"


def not_finite(names: list[str]) -> str:
    """The one sentence on weights that are not finite, without its end."""
    return f"The weights {some(names)} are not finite numbers"


def check_weights(state: Mapping[str, Any], step: int | None = None, unit: str = "step") -> None:
    """Raise Diverged when parameters or buffers hold anything but finite numbers."""
    if names := broken(state):
        raise Diverged(not_finite(names), step, unit=unit)
