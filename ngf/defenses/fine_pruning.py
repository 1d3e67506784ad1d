"""Fine-Pruning (Liu et al. 2018, arXiv 1805.12185): prune the units that clean images leave
dormant, then fine-tune.

A backdoor lives partly in units that clean images hardly use. The inputs of the classifier are
pruned in ascending order of their mean activation on the clean images, a hundredth of them per
step, as long as clean validation accuracy has lost less than a share `tolerance` of itself; the
network is then tuned as a whole, and what was pruned stays pruned.

Changed: the paper prunes channels of the last convolution. The columns of the classifier are the
same channels where only a ReLU and a mean over the image lie between, as in every ResNet, and they
exist in every architecture; that is also how BackdoorBench does it, whose tolerance is the default
here. It watches the test set for the limit and goes on with the network that is past it; here
held-out clean images are watched, and the last network within it goes on. Activations are taken by
size, since the inputs of some classifiers (transformers, ConvNeXt) have both signs.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ngf.data.images import Images, to_float
from ngf.defenses.budget import Budget
from ngf.defenses.contract import Defense, Problem, Step
from ngf.defenses.fine_tuning import options
from ngf.defenses.fine_tuning.descent import Descent
from ngf.defenses.fine_tuning.loop import Batch, Direction, FineTuning, few, scope
from ngf.defenses.judging import parts
from ngf.finite import Diverged
from ngf.models import classifier, flow
from ngf.optim.kfac import Tap
from ngf.options import check_fields, option

_CHUNK = 250  # images at once on the way to the classifier


@dataclass(frozen=True, kw_only=True)
class FinePruning:
    """Prunes the units that clean images leave dormant, then fine-tunes all layers."""

    title: ClassVar[str] = "Fine-Pruning"
    # option -> what its default was in specifications of an earlier revision (see `ngf.config`)
    former: ClassVar[Mapping[str, Any]] = {"augmentation": "weak"}
    paper: ClassVar[Budget] = Budget(
        "github SCLBD/BackdoorBench, config fp: tolerance 0.1, 0.01 of the units at a "
        "time, then 100 epochs of 2,500 images in batches of 256, that is 1,000 steps, "
        "at rate 0.01, momentum 0.9. Its rate falls by cosine, which is not here.",
        {
            "tolerance": 0.1,
            "units_per_step": 0.01,
            "steps": 1000,
            "lr": 0.01,
            "batch_size": 256,
            "momentum": 0.9,
        },
    )
    tolerance: float = option(
        0.1,
        "Share of its clean validation accuracy that the pruning may cost; 0 prunes nothing.",
        ge=0.0,
        le=1.0,
    )
    units_per_step: float = option(
        0.01, "Share of the units that one step prunes.", ge=0.001, le=1.0, expert=True
    )
    steps: int = option(
        100, "Steps of fine-tuning after the pruning; 0 prunes only.", ge=0, le=100_000
    )
    lr: float = option(0.05, "Learning rate of the fine-tuning.", ge=1e-6, le=100.0)
    batch_size: int = options.batch_size()
    momentum: float = options.momentum()
    batch_norm: str = options.batch_norm()
    augmentation: str = options.augmentation()

    def __post_init__(self) -> None:
        check_fields(self)

    def purify(self, problem: Problem) -> PruningThenTuning:
        return PruningThenTuning(self, problem)

    def with_choices_made(self, problem: Problem, *, steps: int) -> Defense:
        """The fine-tuning alone: pruning takes next to no time."""
        return replace(self, tolerance=0.0, steps=steps)


@dataclass(frozen=True)
class PruningStep(Step):
    """The model after one more part of the units was pruned.

    pruned, units: how many are pruned by now, of how many.
    validation: clean validation accuracy in [0, 1]; None at the start.
    """

    pruned: int
    units: int
    validation: float | None


class PruningThenTuning:
    """A Fine-Pruning in progress. How far to prune is settled after step 0, from clean images."""

    def __init__(self, defense: FinePruning, problem: Problem) -> None:
        self.defense, self.problem = defense, problem
        self.model = copy.deepcopy(problem.model).eval()
        self.flow = flow(self.model, few(problem.clean))
        self.name, self.classifier = classifier(self.flow)
        self.step = -1
        self.order: Tensor | None = None  # units, the most dormant first
        self.rounds = (self.units - 1) // self.at_once  # of pruning; one unit is left at least
        self.tuning: FineTuning | None = None

    @property
    def units(self) -> int:
        return self.classifier.in_features

    @property
    def at_once(self) -> int:
        return max(1, round(self.defense.units_per_step * self.units))

    @property
    def pruned(self) -> int:
        return self.at_once * min(max(0, self.step), self.rounds)

    @property
    def steps(self) -> int:
        return self.rounds + self.defense.steps

    def __iter__(self) -> Iterator[Step]:
        if self.step < 0:
            self.step = 0
            yield PruningStep(0, self.steps, None, 0, self.units, None)
        if self.order is None:
            self.order, self.rounds = self._plan()
        if self.step < self.rounds:
            yield from self._prune()
        if self.defense.steps:
            yield from self._tune()

    def _plan(self) -> tuple[Tensor, int]:
        """The order of the units, and how many rounds of pruning clean accuracy allows."""
        start, rounds = self._kept(0), 0
        while rounds < self.rounds:
            lost = max(0.0, start - self._kept(rounds + 1))
            if lost >= self.defense.tolerance * start:
                break
            rounds += 1
        return _most_dormant_first(self._clean), rounds

    def _kept(self, rounds: int) -> float:
        """Clean accuracy after so many rounds of pruning, on images that had no say in the order
        (see `ngf.defenses.judging`).
        """
        right = count = 0.0
        linear = cast(nn.Linear, self.problem.model.get_submodule(self.name))
        for order, features, labels in self._judges:
            pruned = features.index_fill(1, order[: rounds * self.at_once], 0)
            right += _accuracy(linear, pruned, labels) * len(labels)
            count += len(labels)
        return right / count

    def _prune(self) -> Iterator[Step]:
        """One round after another."""
        clean = self.problem.clean
        while self.step < self.rounds:
            self.step += 1
            with torch.no_grad():
                self.classifier.weight[:, self._pruned_units()] = 0
                loss = F.cross_entropy(self.classifier(self._clean), clean.labels).item()
            yield PruningStep(
                self.step, self.steps, loss, self.pruned, self.units, self._kept(self.step)
            )

    def _tune(self) -> Iterator[Step]:
        if self.tuning is None:
            self.tuning = self._begin_tuning()
        try:
            for step in self.tuning:
                self.step = self.rounds + step.step
                yield replace(step, step=self.step, steps=self.steps)
        except Diverged as error:
            raise error.at(self.rounds + (error.step or 0)) from error

    def _begin_tuning(self) -> FineTuning:
        return FineTuning(
            self.model,
            self.problem,
            _Pruned(self.defense.momentum, self.name, self._pruned_units()),
            scope(self.flow, "all", norms=True),
            lr=self.defense.lr,
            steps=self.defense.steps,
            batch_size=self.defense.batch_size,
            batch_norm=self.defense.batch_norm,
            last=self.name,
            augmentation=self.defense.augmentation,
        )

    def _pruned_units(self) -> Tensor:
        assert self.order is not None
        return self.order[: self.pruned]

    # Nothing but the classifier changes while units are pruned, so its inputs stay the same.

    @cached_property
    def _clean(self) -> Tensor:
        return self._features(self.problem.clean)

    @cached_property
    def _judges(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """For each part that judges: an order of the units that it had no say in, its features and
        labels.
        """
        return [
            (_most_dormant_first(self._features(part.clean)), self._features(held), held.labels)
            for part, held in parts(self.problem)
        ]

    @torch.no_grad()
    def _features(self, images: Images) -> Tensor:
        """What the model that came feeds its classifier: (N, units)."""
        found = []
        model = self.problem.model.eval()
        layer = {self.name: model.get_submodule(self.name)}
        for part in images.images.split(_CHUNK):
            with Tap(layer) as tap:
                model(to_float(part))
            found.append(tap.inputs[self.name])
        return torch.cat(found)

    def summary(self) -> dict[str, Any]:
        tuned = 0 if self.tuning is None else self.tuning.step
        did = f"pruned {self.pruned} of {self.units} units"
        if tuned:
            did += f" and tuned all layers in {tuned} steps at learning rate {self.defense.lr:g}"
        return {
            "steps": max(0, self.step),
            "did": did,
            "pruned": self.pruned,
            "units": self.units,
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "rounds": self.rounds,
            "order": self.order,
            "model": self.model.state_dict(),
            "tuning": None if self.tuning is None else self.tuning.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.step, self.rounds, self.order = state["step"], state["rounds"], state["order"]
        self.model.load_state_dict(state["model"])
        if state["tuning"] is not None:
            self.tuning = self._begin_tuning()
            self.tuning.load_state_dict(state["tuning"])


class _Pruned(Descent):
    """Plain descent that leaves the columns of pruned units at zero."""

    def __init__(self, momentum: float, classifier: str, units: Tensor) -> None:
        super().__init__(momentum=momentum)
        self.classifier, self.units = classifier, units

    def direction(self, batch: Batch, lr: float, step: int) -> Direction:
        matrices = dict(batch.gradients)
        matrices[self.classifier] = matrices[self.classifier].index_fill(1, self.units, 0)
        return Direction(matrices)


def _most_dormant_first(features: Tensor) -> Tensor:
    """The units by their mean activation (N, units)."""
    return features.abs().mean(0).argsort(stable=True)


@torch.no_grad()
def _accuracy(linear: nn.Linear, features: Tensor, labels: Tensor) -> float:
    return (linear(features).argmax(1) == labels).float().mean().item()
