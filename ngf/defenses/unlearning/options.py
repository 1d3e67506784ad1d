"""The options that defenses which unlearn share. No torch: forms and time estimates use this."""

from __future__ import annotations

from typing import Any

from ngf.defenses.fine_tuning.options import LR_HELP
from ngf.options import option


def lr(default: float, highest: float = 1.0) -> Any:
    return option(default, LR_HELP, ge=0.0, le=highest)


def rounds(default: int) -> Any:
    return option(default, "Rounds, each of which searches anew and then unlearns.", ge=1, le=1000)


def search_steps(default: int, what: str, per: str = " of a round") -> Any:
    return option(default, f"Steps{per} that {what}.", ge=1, le=100_000)


def unlearn_steps(default: int, per: str = " of a round") -> Any:
    return option(default, f"Steps{per} that unlearn.", ge=1, le=100_000)


def share(default: float, what: str) -> Any:
    return option(default, f"Share of a batch that carries {what}.", ge=0.001, le=1.0)


def batch_norm(default: str) -> Any:
    return option(
        default,
        "BatchNorm while unlearning: train (statistics follow what is shown) or eval (statistics "
        "stay).",
        choices=("train", "eval"),
        expert=True,
    )
