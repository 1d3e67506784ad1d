"""A bend in weight space from the model before purification to the model after it, trained to keep
the loss low.

Garipov et al. 2018 (arXiv 1802.10026): a quadratic Bezier curve

    phi(t) = (1-t)^2 w0 + 2t(1-t) c + t^2 w1

whose handle c minimizes E over t ~ U(0, 1) of L(phi(t)). ("Handle" is what others call its control
point.) It starts as the straight line, with c in the middle. Changed: few steps of Adam on the
measured images; and of the curves that are measured on the way, the straight line among them, the
one whose highest loss is lowest is kept, so that the bend is never worse at the points shown.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from analysis.cores import one_thread
from analysis.landscape.directions import Direction, State, combine
from analysis.landscape.interpolation import (
    BETWEEN,
    BETWEEN_HELP,
    batch_norms,
    differing,
    length,
    states_of,
)
from analysis.landscape.loss_at import LossAt
from analysis.landscape.progressive_surface import finite
from analysis.measurements.base import Measurement, Needs
from analysis.model_under_test import exact_float32, frozen_copy
from analysis.result import Partial, Value
from ngf.options import option

BATCH = 128  # images in one step, at most; the default of a training
LOOKS = 5  # how often the curve is measured while it is trained; each costs as much as the line
CHORDS = 32  # that the length of the curve is the sum of


@dataclass(frozen=True, kw_only=True)
class LossBend(Measurement):
    """Loss and accuracy on the straight line and on a trained bend from the backdoored weights to
    the purified ones.

    The bend is trained on the measured images themselves.

    Values:
        loss_start, loss_end: at the ends, in nats.
        highest_line, highest_bend: the highest loss at the points.
        barrier_line, barrier_bend: the same, above the chord between the ends.
        length_line, length_bend: in the weights.
        steps_done: steps of training.
        rate: what `ca` is called on these images.
        batch_norm_between: how running statistics were found between the models.

    Arrays:
        t: (M,), ascending.
        loss, ca: (M,), on the best bend so far.
        line_loss, line_ca: (M,), on the straight line.
        train_loss: (S,), the loss of each step so far.
    """

    title: ClassVar[str] = "Bend from backdoored to purified"

    points: int = option(
        25, "Points from t = 0 to t = 1, both ends included.", unit="points", ge=3, le=401
    )
    steps: int = option(60, "Steps that train the control point.", unit="steps", ge=1, le=10_000)
    lr: float = option(
        0.003, "Learning rate of Adam; it falls to zero over the steps.", ge=1e-6, le=1.0
    )
    batch_norm_between: str = option("interpolated", BETWEEN_HELP, choices=BETWEEN, expert=True)

    def needs(self) -> Needs:
        return Needs(models="pair", reference=True)

    def measure(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        seed: int,
        reference: nn.Module | None = None,
    ) -> Iterator[Partial]:
        """As `Measurement.measure` says; yields before the first step and after each.

        reference: the model at t = 0.

        Raises ValueError without a reference, or when it is another architecture.
        """
        if reference is None:
            raise ValueError(
                "A bend needs two models. Choose a purified model (run:lane); its backdoored "
                "parent is the other end."
            )
        stamp = self.stamp(images, seed)
        frozen = frozen_copy(model, images, labels)
        start, end = states_of((reference, frozen), images, labels)
        names = differing((start, end))
        weights = [name for name, _ in frozen.named_parameters() if name in names]
        loss_at = LossAt(frozen, images, labels, names, between=self.batch_norm_between)
        ts = np.linspace(0.0, 1.0, self.points)
        middle = combine((start, end), (0.5, 0.5), names)
        line = best = self._curve(loss_at, start, middle, end, ts, weights)
        about: dict[str, Value] = {
            "length_line": length(start, end, weights),
            "rate": self.rate,
            "batch_norm_between": self.batch_norm_between,
        }
        losses: list[float] = []
        yield self._partial(line, best, losses, {**about, **stamp()})
        looks = {round(self.steps * (k + 1) / LOOKS) for k in range(LOOKS)}
        for handle, loss in self._trained(frozen, images, labels, seed, start, middle, end):
            losses.append(loss)
            if len(losses) in looks:
                found = self._curve(loss_at, start, {**middle, **handle}, end, ts, weights)
                if found.highest < best.highest:
                    best = found
            yield self._partial(line, best, losses, {**about, **stamp()})

    def _curve(
        self,
        loss_at: LossAt,
        start: State,
        handle: State,
        end: State,
        ts: np.ndarray,
        weights: Sequence[str],
    ) -> _Curve:
        """The curve with a copy of `handle`, measured at `ts`."""
        states = (start, {name: value.clone() for name, value in handle.items()}, end)
        # At the ends two coefficients are exactly zero: the bend ends in the models to the last
        # bit.
        readings = loss_at(states, [_place(t) for t in ts.tolist()])
        return _Curve(
            states=states,
            weights=weights,
            ts=ts,
            losses=np.array([reading.loss for reading in readings]),
            rates=np.array([reading.rate for reading in readings]),
        )

    def _partial(
        self,
        line: _Curve,
        best: _Curve,
        losses: Sequence[float],
        about: Mapping[str, Value],
    ) -> Partial:
        """What is known after the steps with these losses of training."""
        step, line_loss, bend_loss = len(losses), finite(line.losses), finite(best.losses)
        chord = line_loss[0] + line.ts * (line_loss[-1] - line_loss[0])
        return Partial(
            values={
                "loss_start": float(line_loss[0]),
                "loss_end": float(line_loss[-1]),
                "highest_line": float(line_loss.max()),
                "highest_bend": float(bend_loss.max()),
                "barrier_line": float((line_loss - chord).max()),
                "barrier_bend": float((bend_loss - chord).max()),
                "length_bend": best.length,
                "steps_done": step,
                **about,
            },
            arrays={
                "t": line.ts,
                "loss": bend_loss,
                "ca": best.rates,
                "line_loss": line_loss,
                "line_ca": line.rates,
                "train_loss": finite(np.array(losses)),
            },
            fraction=(step + 1) / (self.steps + 1),
            done=step == self.steps,
        )

    def _trained(
        self,
        frozen: nn.Module,
        images: Tensor,
        labels: Tensor,
        seed: int,
        start: Direction,
        middle: Direction,
        end: Direction,
    ) -> Iterator[tuple[Direction, float]]:
        """The weights of the handle, which the next step changes in place, and the loss after each
        step; running statistics stay those of the middle.
        """
        network, generator = copy.deepcopy(frozen), torch.Generator().manual_seed(seed)
        buffers = [name for name, _ in network.named_buffers() if name in middle]
        handle = {
            name: value.clone().requires_grad_()
            for name, value in middle.items()
            if name not in buffers
        }
        optimizer = torch.optim.Adam(handle.values(), lr=self.lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        if self.batch_norm_between == "reestimated":
            for layer in batch_norms(network):
                layer.train()  # statistics of the batch, as they will be estimated
        for _ in range(self.steps):
            t = float(torch.rand((), generator=generator))
            batch = torch.randperm(len(images), generator=generator)[:BATCH].to(images.device)
            at_start, at_handle, at_end = _place(t)
            state = {
                name: at_start * start[name] + at_handle * value + at_end * end[name]
                for name, value in handle.items()
            }
            state |= combine((start, end), (1 - t, t), buffers) if buffers else {}
            with one_thread(), exact_float32(), torch.enable_grad():
                loss = F.cross_entropy(
                    functional_call(network, state, (images[batch],)), labels[batch]
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            schedule.step()
            yield {name: value.detach() for name, value in handle.items()}, float(loss.detach())


@dataclass(frozen=True, kw_only=True)
class _Curve:
    """A measured curve.

    states: start, handle, end.
    weights: names of the parameters that its length is over.
    ts: (M,), where it was measured.
    losses, rates: (M,), as they were read there.
    """

    states: tuple[State, State, State]
    weights: Sequence[str]
    ts: np.ndarray
    losses: np.ndarray
    rates: np.ndarray

    @property
    def highest(self) -> float:
        """The highest loss; infinite where one is not a number."""
        return float(self.losses.max()) if np.isfinite(self.losses).all() else np.inf

    @cached_property
    def length(self) -> float:
        """The length of its chords; every partial result shows it."""
        places = [_place(t) for t in np.linspace(0, 1, CHORDS + 1).tolist()]
        where = [combine(self.states, place, self.weights) for place in places]
        return sum(length(a, b, self.weights) for a, b in itertools.pairwise(where))


def _place(t: float) -> tuple[float, float, float]:
    """Coefficients of start, handle and end."""
    return (1 - t) ** 2, 2 * t * (1 - t), t**2
