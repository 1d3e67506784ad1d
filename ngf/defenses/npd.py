"""NPD, the neural polarizer (Zhu et al. 2023, arXiv 2306.16697): one linear layer is put into the
network and learns to let through what clean images need and to hold back what a trigger adds.

    g(h) = BatchNorm(A h), channel by channel at each position, put before a late convolution;
           at first the identity, and all that is trained
    t'   = the most likely wrong class of x by the model as it came
    d    = a perturbation |d|_2 <= radius that drives x to t', by sign steps against CE(x + d, t')
    min over g of    l1 CE(x, y) + l2 CE(x + d, what the model as it came says of x)
                   - l3 log(1 - p_w) - l4 log(1 - p_t')

p are the probabilities at x + d, and p_w the largest of a wrong class. The sign steps end early
when 60 % of the images reach t'. A step is as long as the radius, and what it leaves is projected
onto the ball and kept within [0, 1].

No trace of g is left as a layer. With the running statistics m, v of its BatchNorm it is affine,
g(h) = M h + c, and a convolution W of an affine map is a convolution of the map's input:

    W * (M h + c) = (W M) * h + s,   s = sum over kernel and channels of W c

so W M takes the place of W, and s goes into the bias of the convolution or, where it has none, into
the BatchNorm after it: bias + scale s / sqrt(variance). The purified network has the layers that it
came with. For this to hold to the edge of the map, g also sees the zeros that the convolution pads
with; the paper puts zeros around what g gives.

The strength is the learning rate `lr`; 0 applies the common rule.

The layer is put before the last convolution in the flow that is dense, has positions to see, and
whose shift can be taken up: in a pre-activation ResNet the first one of the last block, as in the
paper, which names one by hand for each architecture. In a transformer it is the last linear layer
on tokens that has a bias, and the tokens are the positions.

The paper's budget (github SCLBD/BackdoorBench, config npd) is 5 % of CIFAR-10, 50 epochs of 128,
that is 1,000 steps, after 5 epochs of warming up, at rate 0.01, momentum 0.9, weight decay 5e-4,
cosine, radius 3, two sign steps, l = 1, 0.4, 0.4, 0.4. Changed: its BatchNorm keeps the statistics
of the clean images, from which scale and shift make the identity, so that nothing has to be warmed
up; fewer steps; no weight decay, which would draw g to zero and not to the identity; a smaller
radius, by clean accuracy alone: at rate 0.01 the models of seed 0 on signs, benign and BadNets,
lose 0.0 and 0.2 points of it at radius 0.5, and 0.2 and 8.5 points at radius 1, where the class
that perturbations tend to is given up as a whole. The release takes t' and the prediction to be
kept from the network with g, whose mistakes it then keeps, saves g apart and needs it beside the
network from then on.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from ngf.data.images import Images, to_float
from ngf.defenses.batches import Batches
from ngf.defenses.budget import Budget
from ngf.defenses.contract import Event, Problem, Step
from ngf.defenses.fine_tuning import options
from ngf.defenses.fine_tuning.descent import scheduled
from ngf.defenses.fine_tuning.loop import few
from ngf.defenses.passes import Pass, passes, readers
from ngf.defenses.stepwise import Stepwise
from ngf.defenses.strength import of_option
from ngf.models import flow
from ngf.optim.kfac import Tap
from ngf.options import SpecError, check_fields, option

_USUAL = 0.01  # what the rule for the learning rate tries first
_CHUNK = 250  # images at once where the layer's inputs are counted
_EPS = 1e-5  # added to a variance, as in torch's BatchNorm
_ENOUGH = 0.6  # share of images at their target, from which on they are perturbed no further


@dataclass(frozen=True, kw_only=True)
class NPD:
    """Puts a linear layer into the network that holds back what a trigger adds."""

    title: ClassVar[str] = "NPD (neural polarizer)"
    paper: ClassVar[Budget] = Budget(
        "github SCLBD/BackdoorBench, config npd, 2,500 images; its 5 epochs of warming "
        "up and its weight decay are not here.",
        {
            "lr": 0.01,
            "radius": 3.0,
            "rounds": 2,
            "clean_weight": 1.0,
            "kept_weight": 0.4,
            "wrong_weight": 0.4,
            "target_weight": 0.4,
            "steps": 1000,
            "batch_size": 128,
            "momentum": 0.9,
            "schedule": "cosine",
        },
    )
    lr: float = option(_USUAL, options.LR_HELP, ge=0.0, le=100.0)
    radius: float = option(
        0.5,
        "Largest length of a perturbation, over all pixels and colors of an image in [0, 1].",
        ge=0.0,
        le=100.0,
    )
    rounds: int = option(
        2, "Steps that a perturbation is made in, at most.", ge=1, le=100, expert=True
    )
    clean_weight: float = option(
        1.0, "Weight of clean images and their labels.", ge=0.0, le=100.0, expert=True
    )
    kept_weight: float = option(
        0.4,
        "Weight of perturbed images keeping the prediction they had.",
        ge=0.0,
        le=100.0,
        expert=True,
    )
    wrong_weight: float = option(
        0.4,
        "Weight of the most likely wrong class of perturbed images.",
        ge=0.0,
        le=100.0,
        expert=True,
    )
    target_weight: float = option(
        0.4,
        "Weight of the class that images were perturbed towards.",
        ge=0.0,
        le=100.0,
        expert=True,
    )
    steps: int = option(100, "Steps that the layer is trained for.", ge=1, le=100_000)
    batch_size: int = options.batch_size()
    momentum: float = options.momentum()
    schedule: str = options.schedule()
    augmentation: str = options.augmentation()

    def __post_init__(self) -> None:
        check_fields(self)

    def purify(self, problem: Problem) -> Polarizing:
        """Raises SpecError for a network that has no place for the layer."""
        return Polarizing(self, problem)

    def with_choices_made(self, problem: Problem, *, steps: int) -> NPD:
        return replace(self, lr=self.lr or _USUAL, steps=steps)


@dataclass(frozen=True)
class PolarizerStep(Step):
    """One step of the layer.

    lr: learning rate of the step.
    fooled: share of the step's images that their perturbation takes to the class it is made for,
        before the step; 0 before the first one.
    """

    lr: float
    fooled: float


@dataclass(frozen=True)
class Place:
    """Where the layer is put.

    layer: the convolution, or linear layer on tokens, that takes what it gives.
    norm: the BatchNorm that takes up its shift; "" where `layer` has a bias.
    """

    layer: str
    norm: str


class Polarizer:
    """The layer g before a place in a network, and what becomes of the network's weights with it.

    parameters: `mixing` A (C, C), `scale` and `shift` (C,) of its BatchNorm.
    mean, variance: of its BatchNorm (C,), those of its inputs on clean images.
    """

    def __init__(self, model: nn.Module, place: Place, mean: Tensor, variance: Tensor) -> None:
        self.model, self.place, self.mean, self.variance = model, place, mean, variance
        self.parameters = {
            "mixing": torch.eye(len(mean), dtype=mean.dtype, device=mean.device),
            "scale": (variance + _EPS).sqrt(),
            "shift": mean.clone(),
        }
        for value in self.parameters.values():
            value.requires_grad_(True)

    def affine(self) -> tuple[Tensor, Tensor]:
        """M (C, C) and c (C,) of g(h) = M h + c."""
        p = self.parameters
        gain = p["scale"] / (self.variance + _EPS).sqrt()
        return gain[:, None] * p["mixing"], p["shift"] - gain * self.mean

    def folded(self) -> dict[str, Tensor]:
        """The network's parameters that are others with g than without; gradients flow to g."""
        matrix, constant = self.affine()
        layer = cast(nn.Conv2d, self.model.get_submodule(self.place.layer))
        weight = layer.weight.detach()
        mixed = torch.einsum("oc...,ci->oi...", weight, matrix)
        shift = weight.flatten(2).sum(2) @ constant if weight.ndim > 2 else weight @ constant
        name = self.place.layer
        if not self.place.norm:
            assert layer.bias is not None
            return {f"{name}.weight": mixed, f"{name}.bias": layer.bias.detach() + shift}
        norm = cast(_BatchNorm, self.model.get_submodule(self.place.norm))
        assert norm.running_var is not None
        taken_up = norm.weight.detach() * shift / (norm.running_var + norm.eps).sqrt()
        return {
            f"{name}.weight": mixed,
            f"{self.place.norm}.bias": norm.bias.detach() + taken_up,
        }

    def logits(self, images: Tensor) -> Tensor:
        return cast(Tensor, functional_call(self.model, self.folded(), (images,)))


class Polarizing(Stepwise):
    """The training of a polarizer in progress; the model always has it folded in.

    polarizer: None until the statistics of its BatchNorm are known.
    """

    def __init__(self, defense: NPD, problem: Problem) -> None:
        super().__init__(problem, defense.steps)
        self.defense, self.lr, self.why = defense, defense.lr, ""
        self.place = place(self.model, few(problem.clean))
        self.batches = Batches(problem, defense.batch_size, defense.augmentation)
        self.model.requires_grad_(False)
        self.frozen = copy.deepcopy(self.model)
        self.polarizer: Polarizer | None = None
        self.optimizer: torch.optim.SGD | None = None
        self._told = defense.lr, 0.0  # of the step that is done

    def prepared(self) -> Generator[Event, None, None]:
        if self.lr == 0:
            self.lr, self.why = yield from of_option(self.defense, self.problem, "lr", _USUAL)
        self._begin(*statistics(self.frozen, self.place, self.problem.clean))

    def _begin(self, mean: Tensor, variance: Tensor) -> None:
        self.polarizer = Polarizer(self.frozen, self.place, mean, variance)
        self.optimizer = torch.optim.SGD(
            list(self.polarizer.parameters.values()), lr=1.0, momentum=self.defense.momentum
        )

    def advance(self, rng: torch.Generator) -> float | None:
        assert self.polarizer is not None and self.optimizer is not None
        d, g = self.defense, self.polarizer
        images, labels = self.batches.draw(rng)
        with torch.no_grad():
            before = self.frozen(images)
        target = most_likely_wrong(before, labels)
        perturbed = images + perturbation(
            g.logits, images, target, radius=d.radius, rounds=d.rounds
        )
        clean, other = g.logits(torch.cat([images, perturbed])).chunk(2)
        wrong = most_likely_wrong(other.detach(), labels)
        loss = (
            d.clean_weight * F.cross_entropy(clean, labels)
            + d.kept_weight * F.cross_entropy(other, before.argmax(1))
            - d.wrong_weight * log_of_the_others(other, wrong).mean()
            - d.target_weight * log_of_the_others(other, target).mean()
        )
        lr = scheduled(self.lr, self.step, self.steps, d.schedule)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.param_groups[0]["lr"] = lr
        self.optimizer.step()
        with torch.no_grad():
            for name, value in g.folded().items():
                self.model.get_parameter(name).copy_(value)
        self._told = lr, (other.argmax(1) == target).float().mean().item()
        return loss.item()

    def event(self, loss: float | None) -> Step:
        lr, fooled = self._told
        return PolarizerStep(self.step, self.steps, loss, lr, fooled)

    def kept(self) -> dict[str, Any]:
        assert self.polarizer is not None and self.optimizer is not None
        g = self.polarizer
        return {
            "lr": self.lr,
            "why": self.why,
            "statistics": [g.mean, g.variance],
            "polarizer": {name: value.detach() for name, value in g.parameters.items()},
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        self.lr, self.why = kept["lr"], kept["why"]
        self._begin(*kept["statistics"])
        assert self.polarizer is not None and self.optimizer is not None
        with torch.no_grad():
            for name, value in kept["polarizer"].items():
                self.polarizer.parameters[name].copy_(value)
        self.optimizer.load_state_dict(kept["optimizer"])

    def summary(self) -> dict[str, Any]:
        return {
            "steps": max(0, self.step),
            "did": f"put a linear layer before {self.place.layer}, trained it at learning rate "
            f"{self.lr:g} in {max(0, self.step)} steps, and folded it into the weights there",
            "lr": self.lr,
            "why": self.why,
        }


def perturbation(
    logits: Callable[[Tensor], Tensor],
    images: Tensor,
    target: Tensor,
    *,
    radius: float,
    rounds: int,
) -> Tensor:
    """What drives each image to its target, of length `radius` at most: (N, C, H, W).

    images: float (N, C, H, W) in [0, 1], and so they are with it.
    """
    found = torch.zeros_like(images)
    length = radius / images[0].numel() ** 0.5  # of a sign step in each pixel
    for _ in range(rounds):
        moved = (images + found).requires_grad_(True)
        said = logits(moved)
        if (said.argmax(1) == target).float().mean() > _ENOUGH:
            break
        (slope,) = torch.autograd.grad(F.cross_entropy(said, target), moved)
        found = torch.renorm(found - length * slope.sign(), 2, 0, radius)
        found = (images + found).clamp(0, 1) - images
    return found


def most_likely_wrong(logits: Tensor, labels: Tensor) -> Tensor:
    """The class with the largest logit but for the label: (N,)."""
    return logits.scatter(1, labels[:, None], -torch.inf).argmax(1)


def log_of_the_others(logits: Tensor, classes: Tensor) -> Tensor:
    """log(1 - p) of these classes (N,), exact where p is nearly 1: (N,)."""
    others = logits.scatter(1, classes[:, None], -torch.inf)
    return others.logsumexp(1) - logits.logsumexp(1)


@torch.no_grad()
def statistics(model: nn.Module, place: Place, clean: Images) -> tuple[Tensor, Tensor]:
    """Mean and variance (C,) of what flows into the layer of a place, over images and positions."""
    layer = {place.layer: model.get_submodule(place.layer)}
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for part in clean.images.split(_CHUNK):
        with Tap(layer) as tap:
            model(to_float(part))
        inputs = tap.inputs[place.layer]
        rows = (inputs.movedim(1, -1) if inputs.ndim == 4 else inputs).flatten(0, -2)
        count += len(rows)
        total = total + rows.sum(0).cpu().double()
        squares = squares + rows.square().sum(0).cpu().double()
    mean = total / count
    like = next(model.parameters())
    variance = (squares / count - mean.square()).clamp(min=0)
    return mean.to(like), variance.to(like)


def place(model: nn.Module, images: Tensor) -> Place:
    """The last layer in the flow that the polarizer can be put before, and folded into.

    images: float (N, C, H, W) in [0, 1]; two are enough. Raises SpecError where there is none.
    """
    model = copy.deepcopy(model).requires_grad_(True)
    usable = flow(model, images).usable
    with passes(usable) as seen, torch.enable_grad():
        taken_by = readers(model(images))
    for at in reversed(seen):
        if not _has_positions(at):
            continue
        if getattr(at.module, "bias", None) is not None:
            return Place(at.name, "")
        for norm in seen:
            takes = isinstance(norm.module, _BatchNorm) and norm.entering is at.leaving
            alone = len(taken_by[at.node]) == 1
            if takes and alone and norm.module.running_var is not None:
                return Place(at.name, norm.name)
    raise SpecError(
        "NPD puts a linear layer before a convolution whose outputs go into a BatchNorm, or that "
        "has a bias, and this network has none (nor a linear layer with a bias on tokens). Choose "
        "another defense."
    )


def _has_positions(at: Pass) -> bool:
    """Whether a layer is dense and sees a map of positions, or a row of tokens."""
    if isinstance(at.module, nn.Conv2d):
        plain = at.module.groups == 1 and at.module.padding_mode == "zeros"
        return plain and at.entering[0, 0].numel() > 1
    return isinstance(at.module, nn.Linear) and at.entering.ndim == 3
