"""A bend in weight space from the model before purification to the model after it, trained to keep
the loss low.

Garipov et al. 2018 (arXiv 1802.10026): a quadratic Bezier curve phi(t) = (1-t)^2 w0 + 2t(1-t) c +
t^2 w1 whose control point c minimizes E over t ~ U(0, 1) of L(phi(t)). It starts as the straight
line (c in the middle). Changed: few steps of Adam on the measured images, and of the curves looked
at on the way the one with the lowest highest loss is kept, the straight line among them, so that
the bend is never worse at the points shown.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from analysis.landscape.directions import Direction
from analysis.landscape.interpolation import (
    BETWEEN,
    BETWEEN_HELP,
    batch_norms,
    differing,
    length,
    states_of,
)
from analysis.landscape.loss_at import Reading, Walker, combine, one_thread
from analysis.landscape.progressive_surface import finite
from analysis.measurements.base import Measurement, Needs
from analysis.model_under_test import exact_float32, frozen_copy
from analysis.result import Partial
from ngf.options import option

BATCH = 128
LOOKS = 5  # how often the curve is measured while it is trained


@dataclass(frozen=True, kw_only=True)
class LossBend(Measurement):
    """Loss and accuracy on the straight line and on a trained bend from the backdoored weights to
    the purified ones.

    The control point is trained on the measured images themselves. Values: loss_start, loss_end,
    highest_line and highest_bend (the highest loss at the points), barrier_line and barrier_bend
    (the same above the chord between the ends), length_line, length_bend (in the weights),
    steps_done, rate (which rate `ca` is on these data), batch_norm_between. Arrays: t (M,)
    ascending; loss, ca (M,) on the bend (so far the best one), line_loss, line_ca (M,) on the
    straight line; train_loss (S,), the loss of each step so far.
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
        """images: float (N, C, H, W) in [0, 1]; labels: int64 (N,); `reference`: the model at t =
        0.

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
        walker = Walker(frozen, images, labels, names, between=self.batch_norm_between)
        middle = combine((start, end), (0.5, 0.5), names)
        ts = np.linspace(0.0, 1.0, self.points)
        line = best = self._along(walker, (start, middle, end), ts)
        kept, losses = middle, []

        def partial(step: int) -> Partial:
            fine = [finite(np.array([reading.loss for reading in curve])) for curve in (line, best)]
            chord = fine[0][0] + ts * (fine[0][-1] - fine[0][0])
            values = {
                "loss_start": float(fine[0][0]),
                "loss_end": float(fine[0][-1]),
                "highest_line": float(fine[0].max()),
                "highest_bend": float(fine[1].max()),
                "barrier_line": float((fine[0] - chord).max()),
                "barrier_bend": float((fine[1] - chord).max()),
                "length_line": length(start, end, weights),
                "length_bend": _arc(start, kept, end, weights),
                "steps_done": step,
                "rate": self.rate,
                "batch_norm_between": self.batch_norm_between,
                **stamp(),
            }
            arrays = {
                "t": ts,
                "loss": fine[1],
                "ca": np.array([reading.rate for reading in best]),
                "line_loss": fine[0],
                "line_ca": np.array([reading.rate for reading in line]),
                "train_loss": finite(np.array(losses)),
            }
            return Partial(
                values=values,
                arrays=arrays,
                fraction=(step + 1) / (self.steps + 1),
                done=step == self.steps,
            )

        yield partial(0)
        looks = {round(self.steps * (k + 1) / LOOKS) for k in range(LOOKS)}
        for step, (control, loss) in enumerate(
            self._train(frozen, images, labels, seed, start, end, middle), start=1
        ):
            losses.append(loss)
            if step in looks:
                found = self._along(walker, (start, {**middle, **control}, end), ts)
                if _highest(found) < _highest(best):
                    best, kept = found, {name: value.clone() for name, value in control.items()}
            yield partial(step)

    def _along(self, walker: Walker, states: Sequence[Direction], ts: np.ndarray) -> list[Reading]:
        # At the ends two coefficients are exactly zero: the bend ends in the models to the last
        # bit.
        return walker.read(states, [((1 - t) ** 2, 2 * t * (1 - t), t**2) for t in ts.tolist()])

    def _train(
        self,
        frozen: nn.Module,
        images: Tensor,
        labels: Tensor,
        seed: int,
        start: Direction,
        end: Direction,
        middle: Direction,
    ) -> Iterator[tuple[Direction, float]]:
        """The weights of the control point and the loss after each step; statistics stay
        those of the middle.
        """
        network, generator = copy.deepcopy(frozen), torch.Generator().manual_seed(seed)
        buffers = [name for name, _ in network.named_buffers() if name in middle]
        control = {
            name: value.clone().requires_grad_()
            for name, value in middle.items()
            if name not in buffers
        }
        optimizer = torch.optim.Adam(control.values(), lr=self.lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        if self.batch_norm_between == "reestimated" and len(images) > 1:
            for layer in batch_norms(network):
                layer.train()  # statistics of the batch, as they will be estimated
        for _ in range(self.steps):
            t = float(torch.rand((), generator=generator))
            batch = torch.randperm(len(images), generator=generator)[:BATCH].to(images.device)
            place = ((1 - t) ** 2, 2 * t * (1 - t), t**2)
            state = {
                name: sum(c * s[name] for c, s in zip(place, (start, control, end), strict=True))
                for name in control
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
            yield {name: value.detach() for name, value in control.items()}, float(loss.detach())


def _highest(curve: list[Reading]) -> float:
    """The highest loss; infinite where one is not a number."""
    losses = np.array([reading.loss for reading in curve])
    return float(losses.max()) if np.isfinite(losses).all() else np.inf


def _arc(start: Direction, control: Direction, end: Direction, names: Sequence[str]) -> float:
    """Length of the curve over the parameters `names`, as 32 chords."""
    where = [
        combine((start, control, end), ((1 - t) ** 2, 2 * t * (1 - t), t**2), names)
        for t in np.linspace(0, 1, 33).tolist()
    ]
    return sum(length(a, b, names) for a, b in zip(where, where[1:], strict=False))
