"""MCR, mode connectivity repair (Zhao et al. 2020, arXiv 2005.00060): a model from the middle of a
curve along which clean images keep their labels.

    A the model as it came, B a plainly fine-tuned copy of it, C the bend
    phi(t) = (1 - t)^2 A + 2 t (1 - t) C + t^2 B
    min over C of E CE(phi(t)) on clean images, t ~ U(0, 1) drawn for each step, C from (A + B) / 2

Clean images hold the curve down; nothing does so for the trigger, so that between the ends, both of
which may know it, the backdoor fades (Garipov et al. 2018, arXiv 1802.10026, found such curves).
The gradient of a step with respect to C is 2 t (1 - t) times that at phi(t). BatchNorm takes its
statistics from the batch while the bend is trained; those of a place on the curve are estimated
anew from the clean images.

The strength is the place `t` itself; 0 applies the common rule, from the middle of the curve down
towards the model as it came. It never tries a place beyond the middle: there the curve returns to
a copy that was tuned and no more than that.

The paper trains on 2,500 clean images of CIFAR-10 for 100 epochs, between two models that were
backdoored, or one and its tuned copy, and looks at t from 0.1 to 0.9. SCLBD/BackdoorBench tunes B
for 100 epochs, trains three bends at rate 3e-5 and takes t = 0.1. Changed: one bend, as in the
formula; fewer steps at a larger rate, of which the fine-tuning of B has a third.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ngf.defenses.batches import Batches
from ngf.defenses.budget import Budget
from ngf.defenses.contract import Event, Problem, Step
from ngf.defenses.fine_tuning import options
from ngf.defenses.fine_tuning.descent import scheduled
from ngf.defenses.fine_tuning.loop import recalibrate
from ngf.defenses.fine_tuning.plain import tuned_copy
from ngf.defenses.stepwise import Stepwise
from ngf.defenses.strength import of_option
from ngf.defenses.work import Phase
from ngf.options import check_fields, option

MIDDLE = 0.5  # of the curve: where the bend counts most, and the rule begins
Weights = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class MCR:
    """Walks along a curve of good clean accuracy to a fine-tuned copy, and stops on the way."""

    title: ClassVar[str] = "MCR (mode connectivity repair)"
    phases: ClassVar[tuple[Phase, ...]] = (
        Phase("end", "min(round(end_share * steps), steps - 1)", "3"),
        Phase("bend", "steps - min(round(end_share * steps), steps - 1)", "3 + clean / batch_size"),
    )
    paper: ClassVar[Budget] = Budget(
        "github SCLBD/BackdoorBench, config mcr: 100 epochs of 2,500 images in batches "
        "of 256, that is 1,000 steps, for the copy, at rate 0.01, and as many for the "
        "bends, which makes 2,000 with a share of 0.5; here is one bend.",
        {
            "t": 0.1,
            "lr": 3e-05,
            "steps": 2000,
            "end_share": 0.5,
            "end_lr": 0.01,
            "batch_size": 256,
        },
    )
    t: float = option(
        MIDDLE,
        "Place on the curve, from the model as it came (near 0) to a fine-tuned copy (1); 0 "
        "chooses it: the middle, or nearer to the start, such that accuracy on clean images that "
        "the curve was not made from stays within one point.",
        ge=0.0,
        le=1.0,
    )
    lr: float = option(0.05, "Learning rate of the bend.", ge=1e-6, le=100.0)
    steps: int = option(
        150, "Steps, of the fine-tuned copy first and then of the bend.", ge=1, le=100_000
    )
    end_share: float = option(
        0.33, "Share of the steps that the copy is fine-tuned for.", ge=0.0, le=0.9
    )
    end_lr: float = option(
        0.05, "Learning rate of the fine-tuned copy.", ge=1e-6, le=100.0, expert=True
    )
    batch_size: int = options.batch_size()
    momentum: float = options.momentum()
    schedule: str = options.schedule()
    augmentation: str = options.augmentation()

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def end_steps(self) -> int:
        """One step is the bend's at least."""
        return min(round(self.end_share * self.steps), self.steps - 1)

    def purify(self, problem: Problem) -> Connecting:
        return Connecting(self, problem)

    def with_choices_made(self, problem: Problem, *, steps: int) -> MCR:
        """The steps of the bend alone, which take longer than those of the copy."""
        return replace(self, t=self.t or MIDDLE, end_share=0.0, steps=steps)


@dataclass(frozen=True)
class CurveStep(Step):
    """One step of the copy at the end, while the model stays as it came, or of the bend.

    phase: `end` or `bend`.
    lr: learning rate of the step.
    distance: of the model from what it came as, over the weights that move; 0 before there is a
        curve.
    """

    phase: str
    lr: float
    distance: float


class Curve:
    """The curve from one set of weights to another with one bend between.

    start, end: by name.
    bend: leaves of the graph, at first in the middle of the line.
    """

    def __init__(self, start: Weights, end: Weights) -> None:
        self.start, self.end = start, end
        self.bend = {
            name: ((value + end[name]) / 2).requires_grad_(True) for name, value in start.items()
        }

    def at(self, t: float) -> dict[str, Tensor]:
        """The weights at t in [0, 1]; gradients flow to the bend."""
        return {
            name: (1 - t) ** 2 * start + 2 * t * (1 - t) * self.bend[name] + t**2 * self.end[name]
            for name, start in self.start.items()
        }

    def loss(self, model: nn.Module, t: float, images: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of `model` with the weights at t."""
        return F.cross_entropy(functional_call(model, self.at(t), (images,)), labels)


class Connecting(Stepwise):
    """A mode connectivity repair in progress: the model is the place t of the curve so far.

    copy: the tuning that makes the far end.
    curve: None until that is done.
    """

    def __init__(self, defense: MCR, problem: Problem) -> None:
        super().__init__(problem, defense.steps)
        self.defense, self.t, self.why = defense, defense.t, ""
        self.batches = Batches(problem, defense.batch_size, defense.augmentation)
        self.copy = tuned_copy(
            problem,
            lr=defense.end_lr,
            steps=defense.end_steps,
            batch_size=defense.batch_size,
            momentum=defense.momentum,
            augmentation=defense.augmentation,
            schedule=defense.schedule,
        )
        self.names = [
            f"{name}.{own}"
            for name, layer in self.copy.layers.items()
            for own, _ in layer.named_parameters(recurse=False)
        ]
        self.model.requires_grad_(False)
        self.curve: Curve | None = None
        self.optimizer: torch.optim.SGD | None = None
        self._lr = defense.end_lr  # of the step that is done

    def prepared(self) -> Generator[Event, None, None]:
        if self.t == 0:
            self.t, self.why = yield from of_option(self.defense, self.problem, "t", MIDDLE)

    def advance(self, rng: torch.Generator) -> float | None:
        if self.step < self.copy.steps:
            step = next(iter(self.copy))
            self._lr = step.lr
            return step.loss
        if self.curve is None:
            self._begin(Curve(self._of(self.problem.model), self._of(self.copy.model)))
        return self._bend(rng)

    def _of(self, model: nn.Module) -> dict[str, Tensor]:
        return {name: model.get_parameter(name).detach() for name in self.names}

    def _begin(self, curve: Curve) -> None:
        self.curve = curve
        self.optimizer = torch.optim.SGD(
            list(curve.bend.values()), lr=1.0, momentum=self.defense.momentum
        )

    def _bend(self, rng: torch.Generator) -> float:
        """One step of the bend."""
        assert self.curve is not None and self.optimizer is not None
        t = torch.rand((), generator=rng).item()
        images, labels = self.batches.draw(rng)
        # Running statistics are estimated anew below, so it does no harm that these passes move
        # those of the model.
        loss = self.curve.loss(self.model.train(), t, images, labels)
        done, steps = self.step - self.copy.steps, self.steps - self.copy.steps
        self._lr = scheduled(self.defense.lr, done, steps, self.defense.schedule)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.param_groups[0]["lr"] = self._lr
        self.optimizer.step()
        self._go_to(self.t)
        return loss.item()

    @torch.no_grad()
    def _go_to(self, t: float) -> None:
        """Make the model what is at t, with the statistics of BatchNorm there."""
        assert self.curve is not None
        for name, value in self.curve.at(t).items():
            self.model.get_parameter(name).copy_(value)
        recalibrate(self.model, self.problem.clean)

    def event(self, loss: float | None) -> Step:
        phase = "end" if self.step <= self.copy.steps > 0 else "bend"
        return CurveStep(self.step, self.steps, loss, phase, self._lr, self.distance())

    def distance(self) -> float:
        return math.sqrt(
            sum(
                (self.model.get_parameter(name) - value).square().sum().item()
                for name, value in self._of(self.problem.model).items()
            )
        )

    def kept(self) -> dict[str, Any]:
        """Before there is a curve the tuning of its end, then the end itself."""
        kept: dict[str, Any] = {"t": self.t, "why": self.why}
        if self.curve is None or self.optimizer is None:
            return {**kept, "copy": self.copy.state_dict()}
        bend = {name: value.detach() for name, value in self.curve.bend.items()}
        ends = {"end": dict(self.curve.end), "bend": bend}
        return {**kept, **ends, "optimizer": self.optimizer.state_dict()}

    def restore(self, kept: Mapping[str, Any]) -> None:
        self.t, self.why = kept["t"], kept["why"]
        if "copy" in kept:
            self.copy.load_state_dict(kept["copy"])
            return
        self.copy.step = self.copy.steps
        self._begin(Curve(self._of(self.problem.model), kept["end"]))
        assert self.curve is not None and self.optimizer is not None
        with torch.no_grad():
            for name, value in kept["bend"].items():
                self.curve.bend[name].copy_(value)
        self.optimizer.load_state_dict(kept["optimizer"])

    def summary(self) -> dict[str, Any]:
        return {
            "steps": max(0, self.step),
            "did": f"went to t = {self.t:g} of a curve to a copy that was fine-tuned in "
            f"{self.copy.step} steps",
            "t": self.t,
            "why": self.why,
            "distance": self.distance(),
        }
