"""The options that fine-tuning defenses share, so that a race differs in the method alone.

No torch: forms and time estimates use this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ngf.augmentations import AUGMENTATIONS
from ngf.options import option

LR_HELP = (
    "Learning rate; 0 chooses it: the largest that keeps accuracy on clean images that it was not "
    "tuned on within one point."
)
STRENGTHS = {  # what says how far, in words; where a defense has several of them, the last one does
    "lr": "learning rate",
    "trust_region": "radius",
    "t": "place on the curve",
    "gamma": "gamma",
    "neurons": "share of neurons",
}
LAYER_WORDS = ("auto", "fisher", "last", "all")  # what `layer` may be besides a layer's name
BATCH_NORM_MODES = ("train", "eval", "recalibrate", "clean")
SCHEDULES = ("constant", "cosine")
# Parts into which a defender's clean images are divided where there are no others to judge by.
FOLDS = 2
# By `PurifySpec.choosing`: tunings behind each judgment, of which one is without parts.
FOLDS_OF = {"within": FOLDS, "fivefold": 5, "reserved": 1}
# Learning rates that the rule is taken to try: it knows when to stop, see `choosing`.
_TRIALS = 3


def steps(default: int = 100) -> Any:
    return option(default, "Steps of fine-tuning.", ge=1, le=100_000)


def batch_size() -> Any:
    return option(128, "Clean images in one step.", ge=2, le=4096)


def batch_norm(default: str = "train") -> Any:
    return option(
        default,
        "BatchNorm while tuning: train (statistics follow the clean images), eval (statistics "
        "stay), recalibrate (stay, and are estimated anew at the end), or clean (are estimated "
        "from the clean images before the first step, then stay).",
        choices=BATCH_NORM_MODES,
        expert=True,
    )


def layer(default: str) -> Any:
    return option(
        default,
        "Layer to tune: its name, last (the classifier), all, fisher (largest Fisher trace on "
        "clean images, a second), or auto (tries every layer and judges what each has forgotten; "
        "half a minute).",
        layers=LAYER_WORDS,
    )


def momentum() -> Any:
    return option(0.9, "Heavy-ball momentum.", ge=0.0, le=0.999, expert=True)


def schedule() -> Any:
    return option(
        "cosine",
        "Learning rate over the steps: constant, or cosine (half a wave, down to zero).",
        choices=SCHEDULES,
        expert=True,
    )


def augmentation(default: str = "strong") -> Any:
    return option(
        default,
        "What is done to the clean images: weak (shift, mirror image) or strong (also turned, "
        "warped, blurred, tinted, noisy, partly hidden). Strong forgets more; some of it may "
        "resemble the trigger.",
        choices=tuple(AUGMENTATIONS),
    )


def average() -> Any:
    return option(
        0.0,
        "Share of the steps, the last ones, whose mean of weights is the purified model; 0 takes "
        "the weights of the last step. BatchNorm is then estimated anew from the clean images.",
        ge=0.0,
        le=1.0,
        expert=True,
    )


def strength_of(options: Mapping[str, Any]) -> Any:
    """The value of the option that says how far a defense goes; None where these have none."""
    given = [options[name] for name in STRENGTHS if name in options]
    return given[-1] if given else None


def tunings(options: Mapping[str, Any], num_layers: int, *, folds: int = 1) -> int:
    """How many whole fine-tunings these options ask for, on a network with so many layers.

    folds: tunings behind each judgment, see `FOLDS_OF`.
    """
    trials = _TRIALS if strength_of(options) == 0 else 0
    return 1 + folds * (trials + (num_layers if options.get("layer") == "auto" else 0))
