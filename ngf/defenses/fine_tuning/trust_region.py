"""Steps that change what a model predicts by no more than is allowed: direction, momentum, length.

The length comes last, and from the network itself: the step is tried, and shortened until the mean
KL divergence KL(p before || p after) over the images of the batch is within the radius. So the
bound holds whatever the direction is, and however wrong a model of the curvature may be. Along one
direction the KL grows as the square of the length while it is small; the next length is taken from
that, which finds one within a fifth of the radius in one or two more forward passes.

The radius goes down to zero with the steps: radius_k = radius (1 + cos(pi k / steps)) / 2.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from ngf.defenses.fine_tuning.descent import scheduled
from ngf.defenses.fine_tuning.loop import Batch, Direction, OldCheckpoint, Rule
from ngf.finite import Diverged
from ngf.options import option

SCHEDULES = ("cosine", "constant")
_FULL = 0.8  # of the radius: a step that makes so much of it is not made longer
_AIM = 0.92  # of the radius: where the next trial goes, for the KL does not grow as a square alone
_FACTOR = 30.0  # between two trials, at most: further off, the square is no guide
_TRIALS = 8  # for a longer step; one that is short enough is looked for as long as it takes


def trust_region(default: float) -> Any:
    return option(
        default,
        "Radius of the trust region: the largest KL divergence (nats) of the predictions after a "
        "step from those before it, mean over its images, counted on the network itself.",
        ge=0.0,
        le=100.0,
    )


def radius_schedule(default: str) -> Any:
    return option(
        default,
        "The radius over the steps: cosine (goes down to zero) or constant.",
        choices=SCHEDULES,
        expert=True,
    )


def largest_change(default: float) -> Any:
    return option(
        default,
        "Largest step, as a share of the length of the tuned weights.",
        ge=1e-6,
        le=1000.0,
        expert=True,
    )


class Bounded(Protocol):
    """The options that a rule with a trust region reads.

    lr: the largest length of a step, in units of its direction; 0 for none.
    """

    @property
    def lr(self) -> float: ...
    @property
    def steps(self) -> int: ...
    @property
    def momentum(self) -> float: ...
    @property
    def trust_region(self) -> float: ...
    @property
    def radius_schedule(self) -> str: ...
    @property
    def largest_change(self) -> float: ...


@dataclass(frozen=True)
class Taken:
    """A step of that length: its KL, and the logits after it (None for a step of no length)."""

    length: float
    kl: float
    logits: Tensor | None


class TrustRegionRule(Rule):
    """A direction, its momentum, and the length at which the KL is within the radius.

    A subclass gives the direction, and may have a model of the curvature.
    """

    tries = True

    def __init__(self, settings: Bounded) -> None:
        self.bounds = settings
        self.velocity: dict[str, Tensor] = {}
        self.length = 0.0  # of the step before: the first trial of the next

    @abstractmethod
    def descend(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """The direction to go against, by layer, without momentum."""

    def predicted(self, matrices: Mapping[str, Tensor]) -> float | None:
        """v^T F v as the model of the curvature has it; None without one."""
        return None

    def learn(self, batch: Batch, matrices: Mapping[str, Tensor], taken: Taken) -> None:
        """Look at what the step did: its length is the first trial of the next."""
        self.length = taken.length

    def told(self) -> dict[str, float | None]:
        """Further fields of `Direction`."""
        return {}

    def optimizer(self, parameters: list[Tensor], lr: float) -> Optimizer:
        return torch.optim.SGD(parameters, lr)  # the rule has the momentum

    def direction(self, batch: Batch, lr: float, step: int) -> Direction:
        fresh = self.descend(batch, step)
        with torch.no_grad():
            for name, matrix in fresh.items():
                old = self.velocity.get(name)
                self.velocity[name] = (
                    matrix.clone() if old is None else self.bounds.momentum * old + matrix
                )
            radius = self.radius(step)
            form = self.predicted(self.velocity)
            about = self.told()
            taken = self._search(batch, radius, lr)
            self.learn(batch, self.velocity, taken)
        return Direction(
            dict(self.velocity),
            lr=taken.length,
            kl=taken.kl,
            kl_predicted=None if form is None else 0.5 * taken.length**2 * form,
            radius=radius,
            **about,
        )

    def radius(self, step: int) -> float:
        """The largest KL that step `step` may have."""
        b = self.bounds
        return scheduled(b.trust_region, step, b.steps, b.radius_schedule)

    def _search(self, batch: Batch, radius: float, lr: float) -> Taken:
        """The longest step that was found within the radius and the other bounds."""
        size = norm(self.velocity)
        if not math.isfinite(size):
            raise Diverged("The direction of a step is no longer made of numbers")
        if size == 0:
            return Taken(0.0, 0.0, None)
        before, longest = batch.logits.detach(), self._longest(lr, size)
        length = min(longest, self.length or longest)
        best, above, trials = Taken(0.0, 0.0, None), math.inf, 0
        while True:
            logits = batch.after(self.velocity, length)
            kl, trials = mean_kl(before, logits), trials + 1
            if kl <= radius:
                best = Taken(length, kl, logits)
                if kl >= _FULL * radius or length >= longest or trials >= _TRIALS:
                    break
            else:
                above = length
                if best.length and trials >= _TRIALS:
                    break
            length = min(longest, _next(length, kl, _AIM * radius, best.length, above))
            if length in (0.0, best.length):
                break
        return best

    def _longest(self, lr: float, size: float) -> float:
        """The bound on the length that does not depend on what the model predicts.

        size: Euclidean length of the direction.
        """
        weights = norm(self.tuning.weights()) or 1.0  # of no weights there is no share
        return min(lr or math.inf, self.bounds.largest_change * weights / size)

    def state_dict(self) -> dict[str, Any]:
        return {"velocity": dict(self.velocity), "length": self.length}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises `OldCheckpoint` for a state from before the trust region had momentum in it."""
        if "velocity" not in state:
            raise OldCheckpoint(
                "The checkpoint of this run was made by an older version, whose steps were others."
            )
        self.velocity, self.length = dict(state["velocity"]), state["length"]


def _next(length: float, kl: float, aim: float, below: float, above: float) -> float:
    """Where to try next: there the square of the length would give `aim`, or halfway between what
    is known to be too short and too long.
    """
    if not math.isfinite(kl):
        found = length / _FACTOR
    elif kl == 0:
        found = length * _FACTOR
    else:
        found = length * min(_FACTOR, max(1 / _FACTOR, math.sqrt(aim / kl)))
    if below < found < above:
        return found
    return math.sqrt(below * above) if below else above / 2


def mean_kl(before: Tensor, after: Tensor) -> float:
    """Mean KL divergence KL(p || q) (nats) of softmax(after) from softmax(before), logits (N, C);
    infinite where outputs are not finite.
    """
    p, q = before.double().log_softmax(1), after.double().log_softmax(1)
    kl = (p.exp() * (p - q)).sum(1).mean().item()
    return max(0.0, kl) if math.isfinite(kl) else math.inf


def norm(matrices: Mapping[str, Tensor]) -> float:
    """Euclidean length over all of them."""
    return math.sqrt(sum(matrix.square().sum().item() for matrix in matrices.values()))
