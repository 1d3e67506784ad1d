"""The options that NGF and the baselines share, so that a race differs in the method alone."""

from __future__ import annotations

from ngf.config import option
from ngf.defenses.fine_tuning.loop import BATCH_NORM_MODES

LR_HELP = (
    "Learning rate; 0 chooses it: the largest of the grid that keeps clean validation accuracy "
    "within one point."
)


def steps(default: int = 100) -> int:
    return option(default, "Steps of fine-tuning.", ge=1, le=100_000)


def batch_size() -> int:
    return option(128, "Clean images in one step.", ge=2, le=4096)


def batch_norm() -> str:
    return option(
        "train",
        "BatchNorm while tuning: train (statistics follow the clean images), eval "
        "(statistics stay), or recalibrate (stay, and are estimated anew at the end).",
        choices=BATCH_NORM_MODES,
        expert=True,
    )


def layer(default: str) -> str:
    return option(
        default,
        "Layer to tune: its name, last (the classifier), all, fisher (largest Fisher trace on "
        "clean images, a second), or auto (tries every layer and judges what each has forgotten; "
        "half a minute).",
    )


def momentum() -> float:
    return option(0.9, "Heavy-ball momentum.", ge=0.0, le=0.999, expert=True)
