"""What is known of a network that weights from elsewhere may be of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from torch import nn

Build = Callable[[int, int], nn.Module]  # (num_classes, in_channels)


@dataclass(frozen=True)
class Known:
    """title: in words. first: the name of its first weight. side: of the images that it is usually
    trained on, in pixels.
    """

    title: str
    build: Build
    first: str
    side: int = 224


def out_of_place(model: nn.Module) -> nn.Module:
    """The same module, whose activations leave their inputs alone: K-FAC reads what layers give."""
    for module in model.modules():
        if getattr(module, "inplace", False):
            cast(Any, module).inplace = False
    return model
