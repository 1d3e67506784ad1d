"""UNIT (Cheng et al. 2024, arXiv 2407.11372): every activation gets an upper bound, as tight as
clean images allow.

    a  <- min(a, b),   b >= 0 for each activation of each unit at each position
    b   = mean + 4 standard deviations of a on clean images at first
    min over b of  CE + c sum over layers of mean(b)

What a trigger makes large is cut off; the weights stay as they are. The weight c begins at 1e-3 and
is doubled after each five steps in a row whose bounds are good, and divided by 2^1.5 after each
five that are not. Bounds are good if they cost no more than `tolerance` of accuracy on clean images
that they were not made from. The tightest good ones are what remains, by the sum over layers of
mean(b).

The strength is `tolerance`: it is what the user is willing to lose, and the bounds go as far as it
lets them.

ReLU, ReLU6, SiLU and GELU rise where they are positive, so that a bound on what enters them is a
bound on what leaves them. So it is put on the layer before, wherever nothing else takes what that
gives (see `ngf.models.bounds`), and on a module that gives what an activation made, such as a
residual block, elsewhere. Layers are found by what flows; the release is written for one ResNet-18.

The paper's budget is 5 % of CIFAR-10, a fifth of it to judge by, 300 steps with all of the rest,
Adam at rate 1e-3, betas 0.5 and 0.9, tolerance 3 points. Changed: the tolerance is that of the
common rule, one point; fewer steps at a larger rate, with augmented batches; where there are no
other clean images, half of them judge, since bounds that are the best of many steps are good by
luck on few: with a fifth of 500 a benign model on signs lost 2.3 points elsewhere. The release
judges the bounds after a step and keeps those from before it; here those that were judged are kept.
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ngf.data.images import Images, to_float
from ngf.defenses.batches import Batches
from ngf.defenses.budget import Budget
from ngf.defenses.contract import Event, Problem, Step
from ngf.defenses.fine_tuning import options
from ngf.defenses.fine_tuning.loop import few
from ngf.defenses.fine_tuning.options import FOLDS
from ngf.defenses.judging import keeps, parts
from ngf.defenses.passes import passes, readers, used_once
from ngf.defenses.stepwise import Stepwise
from ngf.defenses.strength import TOLERATED_DROP
from ngf.defenses.work import Phase
from ngf.evaluate import accuracy
from ngf.models.bounds import BOUND, add_bounds, bounds_of
from ngf.optim.kfac import Tap
from ngf.options import SpecError, check_fields, option

_SIGMAS = 4.0
_FIRST_WEIGHT, _UP, _DOWN, _PATIENCE = 1e-3, 2.0, 2.0**1.5, 5
_CHUNK = 250  # images at once where activations are counted
# Nodes of the graph whose function rises where it is positive, and is nowhere positive for less
# than zero.
_RISING = ("ReluBackward0", "HardtanhBackward0", "SiluBackward0", "GeluBackward0")


@dataclass(frozen=True, kw_only=True)
class UNIT:
    """Clips each activation at a bound that is as tight as clean images allow."""

    title: ClassVar[str] = "UNIT (clipped activations)"
    phases: ClassVar[tuple[Phase, ...]] = (
        Phase(
            "",
            "steps",
            "3 * min(clean / 2 / batch_size, 1) + clean / batch_size * (1 / 2 + 1 / steps)",
        ),
    )
    paper: ClassVar[Budget] = Budget(
        "github Megum1/UNIT, 2,500 images, of which 2,000 in each step; tolerance 0.03. "
        "Its images are not augmented, here they are.",
        {
            "tolerance": 0.03,
            "lr": 0.001,
            "steps": 300,
            "batch_size": 2000,
        },
    )
    tolerance: float = option(
        TOLERATED_DROP,
        "Clean accuracy that the bounds may cost, on images that they were not made from; 0.01 is "
        "one point.",
        ge=0.0,
        le=1.0,
    )
    lr: float = option(0.01, "Learning rate of the bounds.", ge=1e-6, le=100.0, expert=True)
    steps: int = option(100, "Steps in which the bounds tighten.", ge=1, le=100_000)
    batch_size: int = options.batch_size()
    augmentation: str = options.augmentation()

    def __post_init__(self) -> None:
        check_fields(self)

    def purify(self, problem: Problem) -> Tightening:
        """Raises SpecError for a network without activations, and for too few images."""
        return Tightening(self, problem)


@dataclass(frozen=True)
class BoundStep(Step):
    """One step of the bounds.

    bounds: those of the model, the sum over layers of their means, as a share of the first ones; 1
        at the start.
    validation: clean accuracy with the bounds of this step, on images that only judge; None at the
        start.
    """

    bounds: float
    validation: float | None


class Tightening(Stepwise):
    """A tightening of bounds in progress. The model has the tightest good bounds so far; the first
    ones where there are none; at the start bounds that clip nothing.

    bounds: those that are tried, by name of the module; None until activations are counted.
    """

    def __init__(self, defense: UNIT, problem: Problem) -> None:
        super().__init__(problem, defense.steps)
        self.defense = defense
        if problem.validation is None and len(problem.clean) < 2 * FOLDS:
            raise SpecError(
                f"UNIT needs {2 * FOLDS} clean images or more, for half of them judge the bounds. "
                f"There are {len(problem.clean)}."
            )
        # one part judges alone here, so it is as large as the other
        (self.part, self.held), *_ = parts(problem, FOLDS)
        self.batches = Batches(self.part, defense.batch_size, defense.augmentation)
        self.model.requires_grad_(False)
        shapes = activations(self.model, few(problem.clean))
        known = bounds_of(self.model.state_dict())
        add_bounds(
            self.model,
            {
                name: torch.full_like(like, torch.finfo(like.dtype).max)
                for name, like in shapes.items()
                if name not in known
            },
        )
        self.names = list(shapes)
        self.bounds: dict[str, Tensor] = {}
        self.optimizer: torch.optim.Adam | None = None
        self.start = self.first = 0.0  # accuracy and size before the first step
        self.tightest: float | None = None  # size of the bounds of the model, once they are good
        self.after = 0.0  # accuracy with them
        self.weight, self.row = _FIRST_WEIGHT, 0  # good steps in a row; bad ones below zero
        self._validation: float | None = None  # of the step that is done

    def prepared(self) -> Generator[Event, None, None]:
        self.start = accuracy(self.model, self.held)
        self._begin(first_bounds(self.model, self.names, self.part.clean))
        self.first = _size(self.bounds).item()
        yield from ()

    def _begin(self, bounds: Mapping[str, Tensor]) -> None:
        self.bounds = {name: value.clone().requires_grad_(True) for name, value in bounds.items()}
        self.optimizer = torch.optim.Adam(
            list(self.bounds.values()), self.defense.lr, betas=(0.5, 0.9)
        )

    def advance(self, rng: torch.Generator) -> float | None:
        assert self.optimizer is not None
        if self.step == 0:
            self._put(self.bounds)
        images, labels = self.batches.draw(rng)
        bounds = {name: value.clamp(min=0) for name, value in self.bounds.items()}
        bounded = {f"{name}.{BOUND}": value for name, value in bounds.items()}
        clean = F.cross_entropy(functional_call(self.model, bounded, (images,)), labels)
        loss = clean + self.weight * _size(bounds)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self._judge({name: value.detach().clamp(min=0) for name, value in self.bounds.items()})
        return clean.item()

    def _judge(self, bounds: Mapping[str, Tensor]) -> None:
        """Leave these bounds to the model if they are good and tighter than its own, and settle
        what weight the next step gives them.
        """
        own = {name: self._bound(name).clone() for name in self.names}
        self._put(bounds)
        kept, size = accuracy(self.model, self.held), _size(bounds).item()
        good = keeps(kept, self.start, self.defense.tolerance)
        if good and (self.tightest is None or size < self.tightest):
            self.tightest, self.after = size, kept
        else:
            self._put(own)
        self.row = max(1, self.row + 1) if good else min(-1, self.row - 1)
        if abs(self.row) == _PATIENCE:
            self.weight *= _UP if good else 1 / _DOWN
            self.row = 0
        self._validation = kept

    def _bound(self, name: str) -> Tensor:
        return self.model.get_buffer(f"{name}.{BOUND}")

    @torch.no_grad()
    def _put(self, bounds: Mapping[str, Tensor]) -> None:
        for name, value in bounds.items():
            self._bound(name).copy_(value)

    @property
    def share(self) -> float:
        """What the bounds of the model are of the first ones."""
        return 1.0 if self.tightest is None or not self.first else self.tightest / self.first

    def event(self, loss: float | None) -> Step:
        return BoundStep(self.step, self.steps, loss, self.share, self._validation)

    def kept(self) -> dict[str, Any]:
        assert self.optimizer is not None
        return {
            "bounds": {name: value.detach() for name, value in self.bounds.items()},
            "optimizer": self.optimizer.state_dict(),
            "numbers": [self.start, self.first, self.tightest, self.after, self.weight, self.row],
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        self._begin(kept["bounds"])
        assert self.optimizer is not None
        self.optimizer.load_state_dict(kept["optimizer"])
        self.start, self.first, self.tightest, self.after, self.weight, self.row = kept["numbers"]

    def summary(self) -> dict[str, Any]:
        return {
            "steps": max(0, self.step),
            "did": f"bounded the activations of {len(self.names)} layers, at {self.share:.0%} of "
            f"where clean images have their mean and {_SIGMAS:g} standard deviations",
            "bounds": self.share,
            "why": self._why(),
        }

    def _why(self) -> str:
        judged = f"on {len(self.held):,} clean images that the bounds were not made from"
        allowed = f"within {100 * self.defense.tolerance:g} points"
        if self.tightest is None:
            return (
                f"No bounds that were tried keep accuracy {allowed} {judged} ({self.start:.1%} "
                "without any); the first and mildest ones are left."
            )
        return (
            f"Of the bounds that were tried these are the tightest that keep accuracy {allowed} "
            f"{judged} ({self.start:.1%} before, {self.after:.1%} after)."
        )


def _size(bounds: Mapping[str, Tensor]) -> Tensor:
    """The sum over layers of the mean bound."""
    return torch.stack([value.mean() for value in bounds.values()]).sum()


@torch.no_grad()
def first_bounds(model: nn.Module, names: list[str], clean: Images) -> dict[str, Tensor]:
    """Mean and four standard deviations of each activation, by name of the module; no looser than
    bounds that the module has already.
    """
    layers = {name: model.get_submodule(name) for name in names}
    count, sums, squares = len(clean), dict[str, Tensor](), dict[str, Tensor]()
    for images in clean.images.split(_CHUNK):
        with Tap(layers) as tap:
            model(to_float(images))
        for name, output in tap.outputs.items():
            active = output.clamp(min=0)
            sums[name] = sums.get(name, 0) + active.sum(0)
            squares[name] = squares.get(name, 0) + active.square().sum(0)
    found = {}
    for name, total in sums.items():
        mean = total / count
        variance = (squares[name] - count * mean.square()) / max(1, count - 1)
        bound = mean + _SIGMAS * variance.clamp(min=0).sqrt()
        found[name] = torch.minimum(bound, model.get_buffer(f"{name}.{BOUND}"))
    return found


def activations(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Where activations can be bounded: by name of a module, in the order in which images flow, a
    tensor like what it gives for one image.

    images: float (N, C, H, W) in [0, 1]; two are enough. Raises SpecError where there are none.
    """
    model = copy.deepcopy(model).requires_grad_(True)
    modules = {name: module for name, module in model.named_modules() if name}
    with passes(modules) as seen, torch.enable_grad():
        taken_by = readers(model(images))
    found, done = dict[str, Tensor](), set()
    for at in used_once(seen):
        node = at.node
        if not _rises(node):  # it may enter an activation, and nothing else
            takers = taken_by.get(node, [])
            node = takers[0] if len(takers) == 1 else None
        if _rises(node) and node not in done:
            done.add(node)
            found[at.name] = at.leaving.detach()[0]
    if not found:
        raise SpecError(
            "UNIT bounds activations, and this network has none that it knows (ReLU, ReLU6, SiLU, "
            "GELU) beside a module of its own. Choose another defense."
        )
    return found


def _rises(node: Any) -> bool:
    return node is not None and node.name() in _RISING
