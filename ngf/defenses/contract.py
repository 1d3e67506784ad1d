"""What a defense yields: typed, frozen events."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One step of a defense.

    kl: KL divergence from the predictions before the step, as the quadratic model of the Fisher
    sees it. update_norm, distance: length of this step, and of the way from the start, over the
    tuned weights. fisher_trace: Tr(F) of the tuned layer where it has a closed form (the last
    linear layer), else None.
    """

    step: int
    steps: int
    loss: float
    lr: float
    damping: float | None
    kl: float | None
    update_norm: float
    distance: float
    fisher_trace: float | None


@dataclass(frozen=True)
class LayerScore:
    """One layer tried while a defense chooses where to work; the highest score is taken."""

    layer: str
    score: float


@dataclass(frozen=True)
class Chosen:
    """What a defense settled on before its first step, and why, in one sentence."""

    layer: str
    lr: float
    num_parameters: int
    why: str
