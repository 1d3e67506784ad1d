"""The options that masking defenses share. No torch."""

from __future__ import annotations

from typing import Any

from ngf.options import option

BATCH_NORM_MODES = ("train", "eval")


def threshold() -> Any:
    return option(
        0.0,
        "Channels whose mask ends at this or below are pruned; 0 chooses it: the largest that "
        "keeps accuracy on clean images that had no say in the masks within one point.",
        ge=0.0,
        le=0.99,
    )


def batch_norm() -> Any:
    return option(
        "train",
        "BatchNorm while masks are learned: train (statistics of the batch) or eval (those of the "
        "model). What is pruned has those of the model.",
        choices=BATCH_NORM_MODES,
        expert=True,
    )


def unlearn_steps() -> Any:
    return option(80, "Steps of unlearning, at most.", ge=1, le=100_000, expert=True)


def unlearn_lr(default: float) -> Any:
    return option(default, "Learning rate of unlearning.", ge=1e-6, le=10.0, expert=True)


def unlearn_until(default: float) -> Any:
    return option(
        default,
        "Clean accuracy, on the images of a step, at which unlearning ends.",
        ge=0.0,
        le=1.0,
        expert=True,
    )
