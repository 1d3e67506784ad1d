"""The options that most attacks have, so that they are called the same everywhere."""

from __future__ import annotations

from typing import Any

from ngf.options import option

MODES = ("all-to-one", "all-to-all")


def target(help: str = "Class that triggered images are sent to.") -> Any:
    return option(1, help, ge=0, le=999)


def mode() -> Any:
    return option(
        MODES[0], "Send every class to the target, or each class to the next one.", choices=MODES
    )


def poison_rate(
    default: float = 0.1, help: str = "Share of all training images that carry the trigger."
) -> Any:
    return option(default, help, ge=0.0001, le=0.9)
