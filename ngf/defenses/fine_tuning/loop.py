"""The loop that every fine-tuning defense shares: scope, batches, BatchNorm, regularizer, events.

A defense gives a `Rule`: how the gradient of the tuned layers becomes a step, and what else it
changes. Step k takes all that is random from (seed, k), so lanes with one seed see the same
batches, and a run resumed from `state_dict()` is the undisturbed run to the last bit.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from ngf.batch_norm import reestimate_batch_norm
from ngf.data.images import Images, to_float
from ngf.defenses.batches import Batches, step_rng
from ngf.defenses.contract import Problem
from ngf.defenses.fine_tuning.events import FineTuningStep
from ngf.defenses.fine_tuning.options import LAYER_WORDS
from ngf.defenses.fine_tuning.replay import Prefix
from ngf.finite import Diverged
from ngf.models import Flow, Tuned, no_last_layer
from ngf.optim.kfac import Tap, split_matrix, weight_matrix
from ngf.options import Explained, SpecError, check_layer

_RECALIBRATION = 250  # images in a batch that BatchNorm is estimated from
_WORDS = {  # what is not finite in a step, to a reader
    "kl": "The KL divergence of a step",
    "kl_predicted": "The KL divergence that the curvature predicts",
    "update_norm": "The length of a step",
    "distance": "The distance from the start",
    "fisher_trace": "The Fisher trace",
}
_NOTHING: Mapping[str, str] = MappingProxyType({})
CACHED_COPIES = 4  # augmented copies of each clean image whose features are kept for the last layer


@dataclass(frozen=True)
class Batch:
    """One step's data as a rule sees it.

    labels: classes (N,), or where the rule mixes images their shares (N, C).
    gradients: matrices (out, in [+ 1]) of `loss` by layer name.
    after: logits of the same images, BatchNorm in the same mode, with the tuned weights moved
        against these matrices times a length: what the optimizer would do. Nothing is changed.
    gradients_after: `gradients` at the weights of `after`.
    """

    loss: Tensor
    logits: Tensor
    labels: Tensor
    tap: Tap
    gradients: dict[str, Tensor]
    rng: torch.Generator
    after: Callable[[Mapping[str, Tensor], float], Tensor]
    gradients_after: Callable[[Mapping[str, Tensor], float], dict[str, Tensor]]


@dataclass(frozen=True)
class Direction:
    """What a rule puts in the place of the gradients, and what it knows about the step.

    matrices: (out, in [+ 1]) by layer name; the optimizer takes the step against them.
    lr: the learning rate of this step, where a rule has a schedule of its own.
    damping, kl, kl_predicted, radius, fisher_trace: as in `FineTuningStep`.
    """

    matrices: dict[str, Tensor]
    lr: float | None = None
    kl: float | None = None
    kl_predicted: float | None = None
    radius: float | None = None
    damping: float | None = None
    fisher_trace: float | None = None


@dataclass(frozen=True)
class Bound:
    """How a trust region held, over the steps so far that have one.

    largest: of KL / radius.
    log_ratio: sum of ln(KL predicted / KL), over `count` steps.
    """

    largest: float = 0.0
    log_ratio: float = 0.0
    count: int = 0

    def after(self, step: FineTuningStep) -> Bound:
        if not step.radius or step.kl is None:
            return self
        largest = max(self.largest, step.kl / step.radius)
        if not step.kl or not step.kl_predicted:
            return replace(self, largest=largest)
        log_ratio = self.log_ratio + math.log(step.kl_predicted / step.kl)
        return Bound(largest, log_ratio, self.count + 1)

    def summary(self) -> dict[str, float]:
        """For result.json: the largest share of the radius that a step took, and the geometric mean
        of the KL predicted over the true one; nothing without a trust region.
        """
        found = {"kl_of_radius": self.largest} if self.largest else {}
        if self.count:
            found["kl_predicted_of_kl"] = math.exp(self.log_ratio / self.count)
        return found


class Rule(ABC):
    """How gradients become a step: a direction for each tuned layer, and an optimizer that goes
    there. What a method does besides has its place here, and is nothing unless the rule says so.

    tries: whether it looks at `Batch.after`, for which the loop keeps what flows before the tuned
        layers.
    mixes: whether it has something to say in `mixed`.
    """

    tries: ClassVar[bool] = False
    mixes: ClassVar[bool] = False

    def begin(self, tuning: FineTuning) -> None:
        """Measure what is needed before the first step; the model stays as it came."""
        self.tuning = tuning

    def set_out(self) -> None:  # noqa: B027  most rules have nothing to do here
        """Change the model at the beginning of the first step."""

    def mixed(self, images: Tensor, labels: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """What is shown in the place of a batch, and its labels (N,) or their shares (N, C)."""
        return images, labels

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """What is descended, a scalar. labels: those of `mixed`."""
        return F.cross_entropy(logits, labels)

    @abstractmethod
    def optimizer(self, parameters: list[Tensor], lr: float) -> Optimizer:
        """torch's own, over the tuned parameters; it keeps momentum and moments."""

    @abstractmethod
    def direction(self, batch: Batch, lr: float, step: int) -> Direction: ...

    def settle(self) -> None:  # noqa: B027
        """Put the weights where the method wants them, after the optimizer's step."""

    def state_dict(self) -> dict[str, Any]:
        """What the rule itself keeps from step to step."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Go on from a `state_dict`."""


def scope(
    found: Flow, layer: str, *, norms: bool = False, without: Mapping[str, str] = _NOTHING
) -> dict[str, Tuned]:
    """The layers that `layer` names: one by name, a few by names separated by commas, `last` (the
    one that makes the logits) or `all` that can be tuned.

    norms: whether `all` includes the scales and shifts of BatchNorm, that is every parameter there
        is.
    without: further layers that cannot be tuned, and why.

    Raises SpecError with the allowed names, or with the reason why a layer cannot be tuned.
    """
    left_out = {**found.left_out, **without}
    usable = {name: module for name, module in found.usable.items() if name not in left_out}
    if layer == "all":
        chosen = {
            name: module
            for name, module in usable.items()
            if norms or not isinstance(module, _BatchNorm)
        }
        if not chosen:
            raise SpecError(f"No layer of this model can be tuned. {_said(left_out)}")
        return chosen
    alone = {name: module for name, module in usable.items() if not isinstance(module, _BatchNorm)}
    names = {_named(part.strip(), found, left_out, alone) for part in layer.split(",")}
    return {name: module for name, module in alone.items() if name in names}


def _named(
    layer: str, found: Flow, left_out: Mapping[str, str], usable: Mapping[str, Tuned]
) -> str:
    """The name of one layer that can be tuned; `last` may stand for it."""
    name = found.last or layer if layer == "last" else layer
    if name in left_out:
        raise SpecError(f"Layer {name!r} cannot be tuned: {left_out[name]}. Choose another layer.")
    if name == "last":
        raise SpecError(no_last_layer(found))
    check_layer(name, LAYER_WORDS, usable)
    if name not in usable:  # a word that stands for a choice or for all, among names
        raise SpecError(f"{name!r} stands alone: of several layers each is given by its name.")
    return name


def _said(left_out: Mapping[str, str]) -> str:
    """Why the first few layers are left out."""
    return " ".join(f"{name}: {reason}." for name, reason in list(left_out.items())[:3])


class FineTuning:
    """A purification in progress: iterate for one step after another; the model is usable after
    each.

    model: changed in place, all but the tuned layers frozen.
    clean: the defender's images, on the device.
    last: the layer that makes the logits; "" for none.
    """

    def __init__(
        self,
        model: nn.Module,
        problem: Problem,
        rule: Rule,
        layers: Mapping[str, Tuned],
        *,
        lr: float,
        steps: int,
        batch_size: int,
        batch_norm: str,
        last: str = "",
        augmentation: str = "weak",
        average: float = 0.0,
    ) -> None:
        """average: share of the steps, the last ones, whose mean of weights the model ends with."""
        self.model, self.clean, self.rule, self.layers = model, problem.clean, rule, dict(layers)
        self.lr, self.steps, self.seed = lr, steps, problem.seed
        self.batches, self.batch_norm = Batches(problem, batch_size, augmentation), batch_norm
        self.step = 0
        self.bound = Bound()
        if batch_norm == "clean":
            recalibrate(model, self.clean)
        model.requires_grad_(False)
        for layer in self.layers.values():
            layer.requires_grad_(True)
        self.start = self._copied()
        self.num_averaged = round(average * steps)
        self.mean: dict[str, Tensor] = {}  # of the weights, since those count that are averaged
        # With everything before the classifier frozen, its inputs never change: no step needs the
        # network.
        only_head = batch_norm != "train" and list(self.layers) == [last] and not rule.mixes
        self._features = self._cache_features() if only_head else None
        rule.begin(self)
        self.optimizer = rule.optimizer(
            [parameter for layer in self.layers.values() for parameter in parameters(layer)], lr
        )

    @torch.no_grad()
    def _cache_features(self) -> Tensor:
        """Inputs of the classifier for a few augmented copies of the clean images: (copies,
        N, D).
        """
        (layer,) = self.layers.values()
        self.model.eval()
        rng = torch.Generator().manual_seed(self.seed)
        copies = []
        for _ in range(CACHED_COPIES):
            with Tap({"head": layer}) as tap:
                self.model(self.batches.images(slice(None), rng))
            copies.append(tap.inputs["head"])
        return torch.stack(copies)

    def weights(self) -> dict[str, Tensor]:
        """The tuned weights as matrices (out, in [+ 1]), detached; views where they can be."""
        return {
            name: weight_matrix(
                layer.weight.detach(), None if layer.bias is None else layer.bias.detach()
            )
            for name, layer in self.layers.items()
        }

    def _copied(self) -> dict[str, Tensor]:
        return {name: matrix.clone() for name, matrix in self.weights().items()}

    def __iter__(self) -> Iterator[FineTuningStep]:
        while self.step < self.steps:
            event = self._advance()
            if self.step == self.steps and self.batch_norm == "recalibrate":
                recalibrate(self.model, self.clean)
            yield event

    def _forward(self, rng: torch.Generator) -> tuple[Tensor, Tensor, Tap, Callable[[], Tensor]]:
        """Logits and labels of this step's batch, what flowed through the tuned layers, and how to
        get these logits once more when weights have changed.
        """
        index = self.batches.index(rng)
        labels = self.clean.labels[index]
        with Tap(self.layers) as tap:
            if self._features is not None:
                (head,) = self.layers.values()
                features = self._features[self.step % CACHED_COPIES, index]
                return head(features), labels, tap, lambda: head(features)
            images = self.batches.images(index, rng)
            if self.rule.mixes:
                images, labels = self.rule.mixed(images, labels, rng)
            self.model.train(self.batch_norm == "train")
            if not self.rule.tries:
                return self.model(images), labels, tap, lambda: self.model(images)
            prefix = Prefix(self.model)
            with prefix.recorded():
                logits = self.model(images)

            def again() -> Tensor:
                with prefix.replayed():
                    return self.model(images)

            return logits, labels, tap, again

    @torch.no_grad()
    def _after(
        self, again: Callable[[], Tensor], matrices: Mapping[str, Tensor], length: float
    ) -> Tensor:
        """`Batch.after`."""
        with self._moved(matrices, length):
            return again()

    def _gradients_after(
        self,
        again: Callable[[], Tensor],
        labels: Tensor,
        matrices: Mapping[str, Tensor],
        length: float,
    ) -> dict[str, Tensor]:
        """`Batch.gradients_after`."""
        with self._moved(matrices, length):
            return gradient_matrices(self.rule.loss(again(), labels), self.layers)

    @contextmanager
    def _moved(self, matrices: Mapping[str, Tensor], length: float) -> Iterator[None]:
        """The weights moved against `matrices` times `length`, and then back, to the last bit."""
        moved = [
            (parameter, parameter.detach().clone(), direction)
            for name, matrix in matrices.items()
            for parameter, direction in zip(
                parameters(self.layers[name]),
                split_matrix(self.layers[name], matrix),
                strict=True,
            )
        ]
        try:
            with torch.no_grad():
                for parameter, _, direction in moved:
                    parameter.add_(direction, alpha=-length)
            with _statistics_kept(self.model):
                yield
        finally:
            with torch.no_grad():
                for parameter, before, _ in moved:
                    parameter.copy_(before)

    def _advance(self) -> FineTuningStep:
        rng = step_rng(self.seed, self.step)
        before = self._copied()
        if self.step == 0:
            self.rule.set_out()
        logits, labels, tap, again = self._forward(rng)
        loss = self.rule.loss(logits, labels)
        if not math.isfinite(loss.item()):
            raise Diverged("The loss is no longer a number", self.step)
        gradients = gradient_matrices(loss, self.layers)
        after = partial(self._after, again)
        gradients_after = partial(self._gradients_after, again, labels)
        batch = Batch(loss, logits, labels, tap, gradients, rng, after, gradients_after)
        try:
            chosen = self.rule.direction(batch, self.lr, self.step)
        except Diverged as error:
            raise error.at(self.step) from error
        except torch.linalg.LinAlgError as error:  # the factors are no longer finite
            raise Diverged("The curvature is no longer made of numbers", self.step) from error
        lr = self.lr if chosen.lr is None else chosen.lr
        self._move(chosen.matrices, lr)
        self.model.eval()
        self.step += 1
        self._average()
        done = FineTuningStep(
            step=self.step,
            steps=self.steps,
            loss=loss.item(),
            lr=lr,
            damping=chosen.damping,
            kl=chosen.kl,
            kl_predicted=chosen.kl_predicted,
            radius=chosen.radius,
            update_norm=_length(self.weights(), before),
            distance=self.distance(),
            fisher_trace=chosen.fisher_trace,
        )
        self.bound = self.bound.after(done)
        wrong = [
            name
            for name, value in asdict(done).items()
            if isinstance(value, float) and not math.isfinite(value)
        ]
        if wrong:  # no next step will see that this one went too far
            raise Diverged(f"{_WORDS.get(wrong[0], wrong[0])} is no longer a number", self.step)
        return done

    @torch.no_grad()
    def _move(self, matrices: Mapping[str, Tensor], lr: float) -> None:
        """Let the optimizer take the step, and the rule settle the weights."""
        for name, matrix in matrices.items():
            layer = self.layers[name]
            for parameter, direction in zip(
                parameters(layer), split_matrix(layer, matrix), strict=True
            ):
                parameter.grad = direction
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.rule.settle()

    @torch.no_grad()
    def _average(self) -> None:
        """Take the weights into their mean, where this step counts; after the last step put it in
        their place, with the statistics of BatchNorm that belong to it.
        """
        counted = self.step - (self.steps - self.num_averaged)
        if counted < 1:
            return
        for name, matrix in self.weights().items():
            if counted == 1:
                self.mean[name] = matrix.clone()
            self.mean[name].lerp_(matrix, 1 / counted)
        if self.step < self.steps:
            return
        for name, layer in self.layers.items():
            for parameter, value in zip(
                parameters(layer), split_matrix(layer, self.mean[name]), strict=True
            ):
                parameter.copy_(value)
        if self.batch_norm == "train":  # else they stay, or are estimated anew in any case
            recalibrate(self.model, self.clean)

    def distance(self) -> float:
        """Length of the way from the start over the tuned weights."""
        return _length(self.weights(), self.start)

    def num_parameters(self) -> int:
        """How many numbers the optimizer moves."""
        return sum(
            tensor.numel() for group in self.optimizer.param_groups for tensor in group["params"]
        )

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "bound": asdict(self.bound),
            "model": self.model.state_dict(),
            "start": self.start,
            "rule": self.rule.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            **({"mean": self.mean} if self.num_averaged else {}),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises `OldCheckpoint` for a state that an older version has left."""
        if "optimizer" not in state:
            raise OldCheckpoint(
                "The checkpoint of this run was made by an older version, which cannot be gone on "
                "from."
            )
        self.step, self.start = state["step"], state["start"]
        self.bound = Bound(**state["bound"])
        self.model.load_state_dict(state["model"])
        self.rule.load_state_dict(state["rule"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.num_averaged:
            self.mean = {name: value.clone() for name, value in state["mean"].items()}
        self.model.eval()


class OldCheckpoint(Explained, ValueError):
    """A state that this version cannot go on from."""

    kind = "old_checkpoint"
    advice = "Start this run again: it then begins anew, with the same settings."


@contextmanager
def _statistics_kept(model: nn.Module) -> Iterator[None]:
    """Forward passes that leave the running statistics of BatchNorm as they are, in train mode
    too.
    """
    tracked = [
        layer
        for layer in model.modules()
        if isinstance(layer, _BatchNorm) and layer.training and layer.track_running_stats
    ]
    for layer in tracked:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in tracked:
            layer.track_running_stats = True


def _length(now: Mapping[str, Tensor], before: Mapping[str, Tensor]) -> float:
    """Euclidean distance between the weights of some layers."""
    return math.sqrt(sum((now[name] - then).square().sum().item() for name, then in before.items()))


def few(images: Images) -> Tensor:
    """The images by which `flow` is seen: float (2, C, H, W)."""
    return to_float(images.images[:2])


def parameters(layer: Tuned) -> list[Tensor]:
    return [layer.weight] if layer.bias is None else [layer.weight, layer.bias]


def gradient_matrices(loss: Tensor, layers: Mapping[str, Tuned]) -> dict[str, Tensor]:
    """Gradients of `loss` with respect to each layer as matrices; the graph is kept for
    further gradients.
    """
    flat = [parameter for layer in layers.values() for parameter in parameters(layer)]
    found = iter(torch.autograd.grad(loss, flat, retain_graph=True))
    return {
        name: weight_matrix(next(found), None if layer.bias is None else next(found))
        for name, layer in layers.items()
    }


def recalibrate(model: nn.Module, clean: Images) -> None:
    """Estimate the running statistics of every BatchNorm anew, from clean images."""
    reestimate_batch_norm(model, (to_float(part) for part in clean.images.split(_RECALIBRATION)))
