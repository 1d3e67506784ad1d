"""NAD, neural attention distillation (Li et al. 2021, arXiv 2101.05930): a fine-tuned copy teaches
the model where in an image to look.

    teacher   T = the model after plain fine-tuning on the clean images
    student   S, from the model as it came:
              min CE(S) + beta sum over blocks l of MSE(A_l(S), A_l(T))
    A(F)      = (sum over channels c of |F_c|^p) / (its Euclidean length over positions)

Fine-tuning alone weakens a backdoor; a student that is drawn to the attention of its tuned self
forgets more of it, the paper finds.

A block is where the resolution is about to change: of all modules that are made of others, the last
one at each resolution, as images flow (`stage1`, `layer2`, `denseblock3`). Where no module is made
of others, it is the last layer at each resolution, before its ReLU. Where the resolution never
changes, as in a transformer, it is every outermost module that gives a row of tokens; the positions
are then the tokens. A map of one position is always 1 and tells nothing, so it is left out.

The strength is the learning rate of the student, `lr`; 0 applies the common rule.

The paper's budget is 5 % of CIFAR-10, 5 to 10 epochs of fine-tuning for the teacher, then 20 epochs
of 64, that is 780 steps, at rate 0.1, p 2, beta 500, 1000 and 1000 for the three stages of a wide
ResNet. SCLBD/BackdoorBench takes rate 0.01 for 100 epochs. Changed: fewer steps, of which the
teacher has a third; one beta for all blocks; the student's rate falls along half a cosine. It is
that of BackdoorBench, by clean accuracy alone: with this beta a benign model on signs loses 0.4
points of it at rate 0.01, and 3.1 points at rate 0.05. Public code names the modules of each
architecture that it knows one by one.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ngf.defenses.batches import Batches
from ngf.defenses.budget import Budget
from ngf.defenses.contract import Event, Problem, Step
from ngf.defenses.fine_tuning import options
from ngf.defenses.fine_tuning.descent import scheduled
from ngf.defenses.fine_tuning.loop import FineTuning, few, parameters, recalibrate, scope
from ngf.defenses.fine_tuning.plain import tuned_copy
from ngf.defenses.passes import passes, used_once
from ngf.defenses.stepwise import Stepwise
from ngf.defenses.strength import of_option
from ngf.defenses.work import Phase
from ngf.models import flow
from ngf.optim.kfac import Tap
from ngf.options import SpecError, check_fields, option

_USUAL = 0.01  # what the rule for the learning rate tries first


@dataclass(frozen=True, kw_only=True)
class NAD:
    """Fine-tunes towards the attention maps of a copy that was fine-tuned before."""

    title: ClassVar[str] = "NAD (attention distillation)"
    phases: ClassVar[tuple[Phase, ...]] = (
        Phase("teacher", "min(round(teacher_share * steps), steps - 1)", "3"),
        Phase("student", "steps - min(round(teacher_share * steps), steps - 1)", "4"),
    )
    paper: ClassVar[Budget] = Budget(
        "github bboylyg/NAD, 2,500 images: 10 epochs for the teacher and 20 for the "
        "student are 390 and 780 steps, 1,170 in all with a share of 0.3333; beta 1,000 "
        "for all blocks. The teacher's rate is not known.",
        {
            "lr": 0.1,
            "beta": 1000.0,
            "power": 2.0,
            "steps": 1170,
            "teacher_share": 0.3333,
            "batch_size": 64,
        },
    )
    lr: float = option(_USUAL, options.LR_HELP, ge=0.0, le=100.0)
    beta: float = option(1000.0, "Weight of the attention maps against the labels.", ge=0.0, le=1e6)
    power: float = option(
        2.0, "To which power activations count in an attention map.", ge=1.0, le=8.0, expert=True
    )
    steps: int = option(
        150, "Steps, of the teacher first and then of the student.", ge=1, le=100_000
    )
    teacher_share: float = option(
        0.33, "Share of the steps that the teacher is tuned for.", ge=0.0, le=0.9
    )
    teacher_lr: float = option(
        0.05, "Learning rate of the teacher.", ge=1e-6, le=100.0, expert=True
    )
    batch_size: int = options.batch_size()
    momentum: float = options.momentum()
    batch_norm: str = options.batch_norm()
    schedule: str = options.schedule()
    augmentation: str = options.augmentation()

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def teacher_steps(self) -> int:
        """One step is the student's at least."""
        return min(round(self.teacher_share * self.steps), self.steps - 1)

    def purify(self, problem: Problem) -> Distilling:
        """Raises SpecError for a network that has no attention maps."""
        return Distilling(self, problem)

    def with_choices_made(self, problem: Problem, *, steps: int) -> NAD:
        """The student's steps alone, which take longer than the teacher's."""
        return replace(self, lr=self.lr or _USUAL, teacher_share=0.0, steps=steps)


@dataclass(frozen=True)
class DistillationStep(Step):
    """One step of the teacher, while the model stays as it came, or of the student.

    phase: `teacher` or `student`.
    lr: learning rate of the step.
    attention: squared difference of the attention maps, a mean over images and positions summed
        over blocks; None for the teacher.
    """

    phase: str
    lr: float
    attention: float | None


class Distilling(Stepwise):
    """A distillation in progress.

    teacher: the tuning that makes it.
    """

    def __init__(self, defense: NAD, problem: Problem) -> None:
        super().__init__(problem, defense.steps)
        self.defense, self.lr, self.why = defense, defense.lr, ""
        self.blocks = blocks(self.model, few(problem.clean))
        self.batches = Batches(problem, defense.batch_size, defense.augmentation)
        self.teacher = self._new_teacher()
        layers = scope(flow(self.model, few(problem.clean)), "all", norms=True)
        self.model.requires_grad_(False)
        tuned = [p.requires_grad_(True) for layer in layers.values() for p in parameters(layer)]
        self.optimizer = torch.optim.SGD(tuned, lr=1.0, momentum=defense.momentum)
        self._told: tuple[float, float | None] = (defense.lr, None)  # of the step that is done

    def _new_teacher(self) -> FineTuning:
        d = self.defense
        return tuned_copy(
            self.problem,
            lr=d.teacher_lr,
            steps=d.teacher_steps,
            batch_size=d.batch_size,
            momentum=d.momentum,
            augmentation=d.augmentation,
            batch_norm=d.batch_norm,
            schedule=d.schedule,
        )

    def prepared(self) -> Generator[Event, None, None]:
        if self.lr == 0:
            self.lr, self.why = yield from of_option(self.defense, self.problem, "lr", _USUAL)

    def advance(self, rng: torch.Generator) -> float | None:
        if self.step < self.teacher.steps:
            step = next(iter(self.teacher))
            self._told = step.lr, None
            return step.loss
        return self._distill(rng)

    def _distill(self, rng: torch.Generator) -> float:
        """One step of the student."""
        d, done = self.defense, self.step - self.teacher.steps
        if done == 0 and d.batch_norm == "clean":
            recalibrate(self.model, self.problem.clean)
        images, labels = self.batches.draw(rng)
        with torch.no_grad():
            _, wanted = self._seen(self.teacher.model, images)
        self.model.train(d.batch_norm == "train")
        logits, found = self._seen(self.model, images)
        apart = [F.mse_loss(found[name], wanted[name]) for name in self.blocks]
        attention = torch.stack(apart).sum()
        loss = F.cross_entropy(logits, labels) + d.beta * attention
        lr = scheduled(self.lr, done, self.steps - self.teacher.steps, d.schedule)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.param_groups[0]["lr"] = lr
        self.optimizer.step()
        if self.step + 1 == self.steps and d.batch_norm == "recalibrate":
            recalibrate(self.model, self.problem.clean)
        self._told = lr, attention.item()
        return loss.item()

    def _seen(self, model: nn.Module, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits and the attention map of each block."""
        with Tap({name: model.get_submodule(name) for name in self.blocks}) as tap:
            logits = model(images)
        maps = {name: attention_map(out, self.defense.power) for name, out in tap.outputs.items()}
        return logits, maps

    def event(self, loss: float | None) -> Step:
        phase = "teacher" if self.step <= self.teacher.steps > 0 else "student"
        lr, attention = self._told
        return DistillationStep(self.step, self.steps, loss, phase, lr, attention)

    def kept(self) -> dict[str, Any]:
        return {
            "lr": self.lr,
            "why": self.why,
            "teacher": self.teacher.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        self.lr, self.why = kept["lr"], kept["why"]
        self.teacher.load_state_dict(kept["teacher"])
        self.optimizer.load_state_dict(kept["optimizer"])

    def summary(self) -> dict[str, Any]:
        student = max(0, self.step - self.teacher.steps)
        return {
            "steps": max(0, self.step),
            "did": f"tuned a teacher in {self.teacher.step} steps, and the model towards its "
            f"attention in {student} steps at learning rate {self.lr:g}",
            "lr": self.lr,
            "why": self.why,
            "blocks": self.blocks,
        }


def attention_map(features: Tensor, power: float) -> Tensor:
    """Where the activations of an image are large: (N, positions), each of Euclidean length 1.

    features: (N, C, H, W), or tokens (N, T, C).
    """
    channels = 2 if features.ndim == 3 else 1
    return F.normalize(features.abs().pow(power).sum(channels).flatten(1), dim=1)


def blocks(model: nn.Module, images: Tensor) -> list[str]:
    """The modules whose attention is compared, in the order in which images flow (see above).

    images: float (N, C, H, W) in [0, 1]; two are enough. Raises SpecError where none gives a map.
    """
    modules = {name: module for name, module in model.named_modules() if name}
    with passes(modules) as seen, torch.no_grad():
        model(images)
    once = [at for at in used_once(seen) if max(_positions(at.leaving)) > 1]
    made = [at for at in once if any(True for _ in at.module.children())]
    last = {_positions(at.leaving): at.name for at in made or once}
    if not last:
        raise SpecError(
            "NAD compares where in an image two networks look, and no module of this network gives "
            "a map of positions or a row of tokens. Choose another defense."
        )
    if len(last) == 1 and made:
        return _outermost([at.name for at in made])
    return [at.name for at in once if at.name in last.values()]


def _positions(output: Tensor) -> tuple[int, ...]:
    """(H, W) of a map, (T,) of a row of tokens; one position for anything else."""
    if output.ndim == 4:
        return tuple(output.shape[2:])
    return (output.shape[1],) if output.ndim == 3 else (1,)


def _outermost(names: Iterable[str]) -> list[str]:
    """Those that are inside no other."""
    known = list(names)
    return [name for name in known if not any(name.startswith(f"{other}.") for other in known)]
