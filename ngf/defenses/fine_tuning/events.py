"""What a fine-tuning defense tells besides its steps: how it chose, and what a step was like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ngf.defenses.contract import Event, Step


@dataclass(frozen=True)
class FineTuningStep(Step):
    """One step of fine-tuning.

    lr: learning rate.
    damping: added to the curvature, where there is one.
    kl: mean KL divergence of the predictions after the step from those before it (nats), counted
        on the images of the step, BatchNorm in the mode of the tuning. In runs of an earlier
        version, which have no `radius`: what the quadratic model of the Fisher took it to be.
    kl_predicted: what the quadratic model of the curvature takes it to be, where there is one.
    radius: the largest `kl` that this step was allowed.
    update_norm, distance: length of this step, and of the way from the start, over the tuned
        weights.
    fisher_trace: Tr(F) of the tuned layers on the images of the step: in closed form for the last
        linear layer, estimated by one random draw where a rule needs it, else None.
    """

    lr: float
    damping: float | None = None
    kl: float | None = None
    kl_predicted: float | None = None
    radius: float | None = None
    update_norm: float = 0.0
    distance: float = 0.0
    fisher_trace: float | None = None


@dataclass(frozen=True)
class LayerScore(Event):
    """One layer tried while a defense chooses where to work; the highest score is taken."""

    kind: ClassVar[str] = "layer"
    layer: str
    score: float


@dataclass(frozen=True)
class LeftOut(Event):
    """A layer that is not among those to choose from, or to tune, and why."""

    kind: ClassVar[str] = "left_out"
    layer: str
    why: str


@dataclass(frozen=True)
class Chosen(Event):
    """What a defense settled on before its first step, and why, in one sentence.

    strength: the option whose value `lr` is: the learning rate, or what takes its place.
    """

    kind: ClassVar[str] = "chosen"
    layer: str
    lr: float
    num_parameters: int
    why: str
    strength: str = "lr"
