"""Masks that are learned, and a threshold below which what they mask is pruned.

Masks are learned from all clean images, and where the threshold is to be chosen within these, also
from each of the parts by which a setting is judged (see `ngf.defenses.judging`), side by side: a
threshold is then judged on images that had no say in the masks which it cuts.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ngf.defenses.contract import Problem
from ngf.defenses.judging import Judge
from ngf.defenses.masking import channels
from ngf.defenses.masking.events import MaskStep
from ngf.defenses.masking.walking import Walk
from ngf.defenses.stepwise import Stepwise
from ngf.options import SpecError

THRESHOLDS = tuple(round(0.05 * k, 2) for k in range(1, 20))  # those that are tried, 0.05 to 0.95


class MaskLearner(ABC):
    """Learns masks of channels from the images of one problem, by descent with momentum.

    masks: m in [0, 1], from 1; (C,) by layer.
    left: steps that are still to be made.
    phase: what the next step does, see `MaskStep`.
    """

    def __init__(self, masks: dict[str, Tensor], *, lr: float, momentum: float, steps: int) -> None:
        self.masks = {name: mask.requires_grad_(True) for name, mask in masks.items()}
        self.optimizer = torch.optim.SGD(self.masks.values(), lr, momentum=momentum)
        self.left = steps

    @property
    def phase(self) -> str:
        return "mask"

    @abstractmethod
    def advance(self, rng: torch.Generator) -> float:
        """Make one step, and return the loss on its clean images (nats). Raises Diverged."""

    def descend(self, loss: Tensor) -> None:
        """Take a step of the masks down `loss`."""
        found = torch.autograd.grad(loss, list(self.masks.values()))
        for mask, gradient in zip(self.masks.values(), found, strict=True):
            mask.grad = gradient
        self.optimizer.step()
        with torch.no_grad():
            for mask in self.masks.values():
                mask.clamp_(0, 1)

    def at_most(self, threshold: float) -> dict[str, Tensor]:
        """The channels that a threshold prunes: bool (C,) by layer."""
        return {name: mask.detach() <= threshold for name, mask in self.masks.items()}

    def state_dict(self) -> dict[str, Any]:
        return {
            "left": self.left,
            "masks": {name: mask.detach() for name, mask in self.masks.items()},
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.left = state["left"]
        with torch.no_grad():
            for name, mask in state["masks"].items():
                self.masks[name].copy_(mask)
        self.optimizer.load_state_dict(state["optimizer"])


class LearnThenPrune(Stepwise):
    """A purification that learns masks of channels, then prunes in the model as it came those whose
    mask ends at a threshold or below; the model changes while it is pruned.

    learn: begins with the masks of a problem.
    threshold: 0 where the rule chooses it, which goes from the least of THRESHOLDS on.
    """

    def __init__(
        self, problem: Problem, learn: Callable[[Problem], MaskLearner], threshold: float
    ) -> None:
        self.threshold, self.pruned = threshold, 0
        self.masks = learn(problem)
        self.learners = [self.masks]
        self.walk: Walk | None = None
        settings = [threshold]
        if not threshold:
            judge = judge_of(problem, "threshold")
            # further clean images judge the masks themselves
            self.judged = [
                self.masks if part is problem else learn(part) for part, _held in judge.parts
            ]
            self.learners += [one for one in self.judged if one is not self.masks]
            settings = list(THRESHOLDS)
            self.walk = Walk(settings, judge, self._part_pruned)
        self.learning = max(one.left for one in self.learners)
        super().__init__(problem, self.learning + len(settings))

    def advance(self, rng: torch.Generator) -> float | None:
        if self.step < self.learning:
            return self._learn(rng)
        self._prune(self.step - self.learning)
        return None

    def _learn(self, rng: torch.Generator) -> float | None:
        self.phase = self.masks.phase
        loss = self.masks.advance(rng) if self.masks.left else None
        for learner in self.learners[1:]:
            if learner.left:
                learner.advance(rng)
        self.learning = self.step + 1 + max(one.left for one in self.learners)
        if self.walk is not None and self.learning == self.step + 1:
            self.walk.settings = self._that_differ(self.walk.settings)
        self.steps = self.learning + (1 if self.walk is None else len(self.walk.settings))
        return loss

    def _that_differ(self, settings: list[float]) -> list[float]:
        """Without the thresholds that prune what a smaller one does; the least of equals stays."""
        found: dict[tuple[int, ...], float] = {}
        for setting in settings:
            pruned = (
                int(sum(gone.sum().item() for gone in one.at_most(setting).values()))
                for one in self.learners
            )
            found.setdefault(tuple(pruned), setting)
        return list(found.values())

    def _prune(self, k: int) -> None:
        self.phase = "prune"
        chosen = self.threshold if self.walk is None else self.walk.settings[k]
        gone = self.masks.at_most(chosen)
        channels.prune(self.model, gone)
        self.pruned = int(sum(channel.sum().item() for channel in gone.values()))
        if self.walk is not None and not self.walk.goes_on(k):
            self.steps = self.step + 1

    def _part_pruned(self, threshold: float, part: Problem) -> nn.Module:
        """The model without what the masks of a part prune."""
        assert self.walk is not None
        parts = [problem for problem, _held in self.walk.judge.parts]
        (learner,) = (
            one for one, problem in zip(self.judged, parts, strict=True) if problem is part
        )
        return channels.prune(copy.deepcopy(part.model).eval(), learner.at_most(threshold))

    def event(self, loss: float | None) -> MaskStep:
        if self.step <= self.learning:
            phase = self.phase if self.step else "mask"
            kept = channels.share({name: mask.detach() for name, mask in self.masks.masks.items()})
        else:
            phase, kept = "prune", 1 - self.pruned / channels.count(self.masks.masks)
        return MaskStep(self.step, self.steps, loss, phase, kept)

    def kept(self) -> dict[str, Any]:
        return {
            "learners": [one.state_dict() for one in self.learners],
            "learning": self.learning,
            "pruned": self.pruned,
            "walk": {} if self.walk is None else self.walk.state_dict(),
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        for learner, state in zip(self.learners, kept["learners"], strict=True):
            learner.load_state_dict(state)
        self.learning, self.pruned = kept["learning"], kept["pruned"]
        if self.walk is not None:
            self.walk.load_state_dict(kept["walk"])

    def summary(self) -> dict[str, Any]:
        steps, units = max(0, self.step), channels.count(self.masks.masks)
        if steps <= self.learning:
            return {"steps": steps, "did": f"learned masks of {units} channels", "units": units}
        walk, k = self.walk, steps - self.learning - 1
        threshold = self.threshold if walk is None else walk.settings[k]
        return {
            "steps": steps,
            "did": f"pruned {self.pruned} of {units} channels, those with a mask of {threshold:g} "
            "or less",
            "pruned": self.pruned,
            "units": units,
            "threshold": threshold,
            "why": "" if walk is None else walk.why("threshold", most="largest", k=k),
        }


def judge_of(problem: Problem, what: str) -> Judge:
    """Who judges an option, `what`, that a defense chooses. Raises SpecError for too few images."""
    try:
        return Judge(problem)
    except ValueError as error:
        raise SpecError(
            f"Where {what} is 0 it is chosen on clean images in {problem.folds} parts. {error} "
            f"Give more images, or {what}."
        ) from error
