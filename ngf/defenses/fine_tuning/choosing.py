"""From a suspicious model and clean images to a running fine-tuning: which layer, which learning
rate (see `ngf.defenses.strength`), go. Both choices look at clean images only.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, fields, replace
from typing import Any, ClassVar, cast

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ngf.defenses.contract import Choosing, Defense, Event, Problem
from ngf.defenses.fine_tuning.events import (
    Chosen,
    FineTuningStep,
    LayerScore,
    LeftOut,
)
from ngf.defenses.fine_tuning.layer_choice import fisher_traces, pick, score_layers
from ngf.defenses.fine_tuning.loop import FineTuning, Rule, few, scope
from ngf.defenses.strength import choose, highest
from ngf.finite import Diverged
from ngf.models import Flow, Tuned, flow
from ngf.optim.kfac import with_factors
from ngf.options import SpecError

_MEANING = {
    "fisher": "Of all layers this one has the largest Fisher trace on the clean images.",
    "auto": (
        "Tuned in turn on clean images, it is among the layers that leave least of what a small "
        "universal perturbation can do, and of those the one with the largest Fisher trace."
    ),
}


class FineTuningDefense(ABC):
    """Base of the defenses that tune layers.

    A subclass is a frozen dataclass with the fields below, as options or as constants, and a rule.

    tunes_norms: whether all layers include the scales and shifts of BatchNorm.
    needs_factors: whether the rule takes the Fisher information of every layer that it tunes.
    needs_classifier: whether it has no meaning where no linear layer makes the logits.
    strength: the option that says how far a tuning goes: the learning rate, or what takes its place
        in the rule. "Rate" below means its value; 0 applies the rule.
    usual: the rate that the rule tries first, and that layers are compared at.
    """

    title: ClassVar[str]
    tunes_norms: ClassVar[bool]
    needs_factors: ClassVar[bool] = False
    needs_classifier: ClassVar[bool] = False
    strength: ClassVar[str] = "lr"
    usual: ClassVar[float]
    layer: str
    lr: float
    steps: int
    batch_size: int
    batch_norm: str
    augmentation: str = "weak"
    average: float = 0.0

    @property
    def rate(self) -> float:
        """The value of `strength`."""
        return float(getattr(self, self.strength))

    @abstractmethod
    def rule(self, layers: Mapping[str, Tuned], last: str) -> Rule:
        """How the gradient of these layers becomes a step.

        last: name of the linear layer that makes the logits; "" where there is none.
        """

    def tuned(self, found: Flow, layer: str) -> dict[str, Tuned]:
        """The layers that are tuned where `layer` is asked for. Raises SpecError where there are
        none.
        """
        without = with_factors(found)[1] if self.needs_factors else {}
        return scope(found, layer, norms=self.tunes_norms, without=without)

    def purify(self, problem: Problem) -> FineTuningPurification:
        """Raises SpecError for a network, or a layer, that the method has no meaning for."""
        found = flow(problem.model, few(problem.clean))
        if self.needs_classifier and found.last not in found.usable:
            raise SpecError(
                f"{self.title} works on the linear layer that makes the logits; this model has "
                "none that can be tuned. Choose another defense."
            )
        if self.layer not in _MEANING:
            self.tuned(found, self.layer)
        return FineTuningPurification(self, problem)

    def with_choices_made(self, problem: Problem, *, steps: int) -> FineTuningDefense:
        """The same defense with a layer and a rate that are given, for timing its steps alone.

        `auto` takes the layer that `fisher` would: it tunes every layer in turn, which is a matter
        of arithmetic.
        """
        layer = self.layer
        if layer in _MEANING:
            traces = fisher_traces(problem.model, problem.clean.images, problem.seed)
            layer = max(traces, key=traces.__getitem__)
        wanted = {"layer": layer, self.strength: 1e-3, "steps": steps}
        known = {item.name for item in fields(cast(Any, self))}  # others are constants
        changed = {name: value for name, value in wanted.items() if name in known}
        return cast(FineTuningDefense, replace(cast(Any, self), **changed))


class FineTuningPurification:
    """A purification by fine-tuning. After step 0 come LeftOut, Choosing, LayerScore, Chosen, then
    the steps."""

    def __init__(self, defense: FineTuningDefense, problem: Problem) -> None:
        self.defense, self.problem = defense, problem
        self.chosen: Chosen | None = None
        self.tuning: FineTuning | None = None
        self._begun = False

    @property
    def model(self) -> nn.Module:
        return self.problem.model if self.tuning is None else self.tuning.model

    @property
    def step(self) -> int:
        if self.tuning is not None:
            return self.tuning.step
        return 0 if self._begun else -1

    @property
    def steps(self) -> int:
        return self.defense.steps

    def __iter__(self) -> Iterator[Event]:
        if not self._begun:
            self._begun = True
            yield FineTuningStep(step=0, steps=self.steps, loss=None, lr=self.defense.lr)
        if self.tuning is None:
            yield (yield from self._choose())
        assert self.tuning is not None
        yield from self.tuning

    def _choose(self) -> Generator[Event, None, Chosen]:
        """Settle on layer and learning rate, and begin."""
        layer, why = self.defense.layer, ""
        if layer == "all":
            for name, reason in self._left_out(self.defense.needs_factors).items():
                yield LeftOut(name, reason)
        if layer in _MEANING:
            why = _MEANING[layer]
            layer = yield from self._choose_layer(layer)
        lr = self.defense.rate
        if lr == 0:
            lr, reason = yield from choose_lr(self.defense, self.problem, layer)
            why = f"{why} {reason}".strip()
        return self._start(layer, lr, why)

    def _left_out(self, without_factors: bool) -> dict[str, str]:
        """Layers that cannot be tuned, or whose Fisher information cannot be taken, and why."""
        found = flow(self.problem.model, few(self.problem.clean))
        left_out = found.left_out | (with_factors(found)[1] if without_factors else {})
        norms = self.defense.tunes_norms and self.defense.layer == "all"
        kinds = dict(self.problem.model.named_modules())
        return {
            name: reason
            for name, reason in left_out.items()
            if norms or not isinstance(kinds[name], _BatchNorm)
        }

    def _choose_layer(self, criterion: str) -> Generator[Event, None, str]:
        p = self.problem
        for name, reason in self._left_out(without_factors=True).items():
            yield LeftOut(name, reason)
        if criterion == "fisher":
            yield Choosing("layer")
        traces = fisher_traces(p.model, p.clean.images, p.seed)
        if criterion == "fisher":
            for name, trace in traces.items():
                yield LayerScore(name, trace)
            return max(traces, key=traces.__getitem__)
        lr = self.defense.rate or self.defense.usual
        scores = {}
        for tried in score_layers(
            p, lambda layer, part: finished(self.defense, part, layer, lr), list(traces)
        ):
            if isinstance(tried, LayerScore):
                scores[tried.layer] = tried.score
            yield tried
        if not scores:
            raise Diverged(
                f"Every layer that was tried diverges at learning rate {lr:g}",
                0,
                advice="Start a new run with a smaller learning rate; auto tries each layer with "
                "it.",
            )
        return pick(scores, traces)

    def _start(self, layer: str, lr: float, why: str) -> Chosen:
        self.tuning = begin(self.defense, self.problem, layer, lr)
        self.chosen = Chosen(layer, lr, self.tuning.num_parameters(), why, self.defense.strength)
        return self.chosen

    def summary(self) -> dict[str, Any]:
        if self.chosen is None or self.tuning is None:
            return {"steps": 0}
        return {
            "layer": self.chosen.layer,
            "lr": self.chosen.lr,
            "strength": self.chosen.strength,
            "why": self.chosen.why,
            "num_parameters": self.chosen.num_parameters,
            "steps": self.tuning.step,
            "distance": self.tuning.distance(),
            **self.tuning.bound.summary(),
        }

    def state_dict(self) -> dict[str, Any]:
        """Empty while the purification is still choosing."""
        if self.chosen is None or self.tuning is None:
            return {}
        return {"chosen": asdict(self.chosen), "tuning": self.tuning.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state:
            chosen = state["chosen"]
            self._begun = True
            self._start(chosen["layer"], chosen["lr"], chosen["why"])
            assert self.tuning is not None
            self.tuning.load_state_dict(state["tuning"])


def begin(defense: FineTuningDefense, problem: Problem, layer: str, lr: float) -> FineTuning:
    """A fine-tuning of a copy of the problem's model. Raises SpecError for a layer that is not
    there, or cannot be tuned.
    """
    if defense.strength != "lr":
        defense = cast(FineTuningDefense, replace(cast(Any, defense), **{defense.strength: lr}))
        lr = defense.lr
    model = copy.deepcopy(problem.model)
    found = flow(model, few(problem.clean))
    layers = defense.tuned(found, layer)
    return FineTuning(
        model,
        problem,
        defense.rule(layers, found.last),
        layers,
        lr=lr,
        steps=defense.steps,
        batch_size=defense.batch_size,
        batch_norm=defense.batch_norm,
        last=found.last,
        augmentation=defense.augmentation,
        average=defense.average,
    )


def finished(defense: FineTuningDefense, problem: Problem, layer: str, lr: float) -> nn.Module:
    """The model after a whole fine-tuning. Raises Diverged."""
    tuning = begin(defense, problem, layer, lr)
    for _ in tuning:
        pass
    return tuning.model


def choose_lr(
    defense: FineTuningDefense, problem: Problem, layer: str
) -> Generator[Choosing, None, tuple[float, str]]:
    """`strength.choose` for a fine-tuning of this layer."""

    def tuned(lr: float, part: Problem) -> nn.Module:
        return finished(defense, part, layer, lr)

    name = defense.strength
    return (
        yield from choose(
            name,
            problem,
            tuned,
            usual=defense.usual,
            highest=highest(cast(Defense, defense), name),
            where=f" on {layer}",
        )
    )
