"""CLP, channel Lipschitz pruning (Zheng et al. 2022, arXiv 2208.03111): prune the channels that may
stretch their input most, without any data.

For each convolution with a BatchNorm behind it, and each of its channels k,

    L_k = sigma_max(reshape(W_k, C_in, -1)) |gamma_k| / sqrt(var_k + eps)

bounds, up to a factor that all channels of the layer share, how much channel k changes with its
input. Channels with L_k > mean(L) + u std(L), over their layer, give 0 from then on: both the
weight and the bias of their BatchNorm become 0. A trigger is a small change with a large effect.

The strength is u: the smaller, the more is pruned. The paper's is 3 for CIFAR-10, and takes less
than a second; here 0 goes down from 10 in steps of 0.25 and takes the smallest u that keeps clean
accuracy, which is all that clean images are used for. (A layer of n channels has none above u =
(n - 1) / sqrt(n), which is 3.75 for 16 channels.)

Changed: the public code pairs layers by the order of the module list, which in pre-activation
networks pairs convolutions with BatchNorms that normalize something else; here pairs are made by
what flows (see `ngf.models.norms_behind_convolutions`), and convolutions whose outputs are added to
others before they are normalized are left alone. What the paper calls the variance is here what
BatchNorm divides by, eps included, so that a channel that hardly varies has a finite bound.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ngf.defenses.budget import Budget
from ngf.defenses.contract import Problem
from ngf.defenses.fine_tuning.loop import few
from ngf.defenses.judging import Judge
from ngf.defenses.masking import channels
from ngf.defenses.masking.events import MaskStep
from ngf.defenses.masking.walking import Walk
from ngf.defenses.stepwise import Stepwise
from ngf.models import norms_behind_convolutions
from ngf.options import SpecError, check_fields, option

SETTINGS = tuple(10 - 0.25 * k for k in range(40))  # of u that are tried: 10 to 0.25


@dataclass(frozen=True, kw_only=True)
class CLP:
    """Prunes the channels that may stretch their input most; needs no data."""

    title: ClassVar[str] = "CLP (channel Lipschitz pruning)"
    paper: ClassVar[Budget] = Budget(
        "The paper's threshold for CIFAR-10, without any images.",
        {
            "u": 3.0,
        },
    )
    u: float = option(
        0.0,
        "Standard deviations above the mean of its layer from which a channel is pruned; 0 "
        "chooses it: the smallest that keeps accuracy on clean images within one point.",
        ge=0.0,
        le=100.0,
    )

    def __post_init__(self) -> None:
        check_fields(self)

    def purify(self, problem: Problem) -> LipschitzPruning:
        """Raises SpecError for a model without a convolution before a BatchNorm."""
        return LipschitzPruning(self, problem)


class LipschitzPruning(Stepwise):
    """A CLP in progress: one u a step.

    scores: (L_k - mean) / std of each channel, by BatchNorm: (C,).
    left_out: convolutions that have no BatchNorm of their own, and why.
    """

    def __init__(self, defense: CLP, problem: Problem) -> None:
        pairs, self.left_out = norms_behind_convolutions(problem.model, few(problem.clean))
        for convolution, norm in list(pairs.items()):
            if _norm(problem.model, norm).running_var is None:
                del pairs[convolution]
                self.left_out[convolution] = "the BatchNorm behind it keeps no variance"
        if not pairs:
            raise SpecError(
                "CLP compares channels of convolutions that a BatchNorm directly follows; this "
                f"model has none. {_said(self.left_out)}Choose another defense."
            )
        self.scores = {
            norm: standardized(channel_bounds(problem.model, convolution, norm))
            for convolution, norm in pairs.items()
        }
        self.walk: Walk | None = None
        settings = [defense.u]
        if not defense.u:
            settings = self._that_differ()
            # Bounds know no image: all that there are may judge.
            judge = Judge(replace(problem, validation=problem.validation or problem.clean))
            self.walk = Walk(settings, judge, self._part_pruned)
        self.settings = settings
        super().__init__(problem, len(settings))

    def _that_differ(self) -> list[float]:
        """Of the settings that prune the same channels the largest; the last where all prune
        nothing.
        """
        counts = {u: self._count(u) for u in SETTINGS}
        first: dict[int, float] = {}
        for u, pruned in counts.items():
            if pruned:
                first.setdefault(pruned, u)
        return list(first.values()) or [SETTINGS[-1]]

    def above(self, u: float) -> dict[str, Tensor]:
        """The channels that u prunes: bool (C,) by BatchNorm."""
        return {name: score > u for name, score in self.scores.items()}

    def _count(self, u: float) -> int:
        return int(sum(gone.sum().item() for gone in self.above(u).values()))

    def _part_pruned(self, u: float, part: Problem) -> nn.Module:
        return channels.prune(copy.deepcopy(part.model).eval(), self.above(u), shifts=True)

    def advance(self, rng: torch.Generator) -> float | None:
        channels.prune(self.model, self.above(self.settings[self.step]), shifts=True)
        if self.walk is not None and not self.walk.goes_on(self.step):
            self.steps = self.step + 1
        return None

    @property
    def pruned(self) -> int:
        return self._count(self.settings[self.step - 1]) if self.step > 0 else 0

    def event(self, loss: float | None) -> MaskStep:
        kept = 1 - self.pruned / channels.count(self.scores)
        return MaskStep(self.step, self.steps, loss, "prune", kept)

    def kept(self) -> dict[str, Any]:
        return {} if self.walk is None else self.walk.state_dict()

    def restore(self, kept: Mapping[str, Any]) -> None:
        if self.walk is not None:
            self.walk.load_state_dict(kept)

    def summary(self) -> dict[str, Any]:
        steps, units = max(0, self.step), channels.count(self.scores)
        u, why = self.settings[steps - 1] if steps else 0.0, ""
        if self.walk is not None and steps:
            on = f"on {self.walk.judge.count:,} clean images, which have no say in the bounds"
            why = self.walk.why("u", most="smallest", k=steps - 1, on=on)
        return {
            "steps": steps,
            "did": f"pruned {self.pruned} of {units} channels, those above u = {u:g}",
            "pruned": self.pruned,
            "units": units,
            "u": u,
            "why": why,
            "left_out": self.left_out,
        }


@torch.no_grad()
def channel_bounds(model: nn.Module, convolution: str, norm: str) -> Tensor:
    """L_k of each channel of a convolution with the BatchNorm behind it: (C_out,)."""
    conv, behind = cast(nn.Conv2d, model.get_submodule(convolution)), _norm(model, norm)
    assert behind.running_var is not None
    largest = torch.linalg.matrix_norm(conv.weight.flatten(2), 2)
    return largest * behind.weight.abs() / (behind.running_var + behind.eps).sqrt()


def _norm(model: nn.Module, name: str) -> _BatchNorm:
    return cast(_BatchNorm, model.get_submodule(name))


def standardized(bounds: Tensor) -> Tensor:
    """By how many standard deviations each of (C,) is above their mean; 0 where all are equal."""
    if len(bounds) < 2:
        return torch.zeros_like(bounds)
    spread = bounds.std()
    return (bounds - bounds.mean()) / spread if spread > 0 else torch.zeros_like(bounds)


def _said(left_out: Mapping[str, str]) -> str:
    """Why the first few convolutions are left out."""
    return "".join(f"{name}: {reason}. " for name, reason in list(left_out.items())[:3])
