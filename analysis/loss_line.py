"""The straight line in weight space from the model before purification to the model after it.

Goodfellow, Vinyals, Saxe 2015 (arXiv 1412.6544). BatchNorm running statistics are interpolated with the
weights, because statistics of one end do not fit the weights of the other. The line ends at the models: beyond
them an extrapolated variance soon reaches zero and the loss explodes, which says nothing about the landscape.
When only the last layer moved the loss along the line is convex.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from analysis.frozen import evaluate, frozen_copy
from analysis.measurement import RATE, Measurement
from analysis.partial import Partial
from ngf.config import option


@dataclass(frozen=True, kw_only=True)
class LossLine(Measurement):
    """Loss and accuracy on the line from the backdoored weights (t = 0) to the purified ones (t = 1).

    Values: loss_start, loss_end, barrier (how far the loss rises above the straight line between its ends,
    at the points measured; 0 for a convex loss), length (distance of the weights), rate (which rate `ca`
    is on these data). Arrays: t (M,) ascending, loss, loss_stderr (over images), ca. M grows.
    """

    title: ClassVar[str] = "Line from backdoored to purified"

    points: int = option(25, "Points from t = 0 to t = 1, both ends included.", unit="points", ge=3, le=401)

    def measure(self, model: nn.Module, images: Tensor, labels: Tensor, *, seed: int,
                reference: nn.Module | None = None) -> Iterator[Partial]:
        """images: float (N, C, H, W) in [0, 1]; labels: int64 (N,); `reference`: the model at t = 0.

        Raises ValueError without a reference, or when it is another architecture.
        """
        if reference is None:
            raise ValueError("A line needs two models. Choose a purified model (run:lane); its backdoored "
                             "parent is the other end.")
        stamp = self.stamp(images, seed)
        frozen = frozen_copy(model, images, labels)
        ends = [{name: value.clone() for name, value in m.state_dict().items()}
                for m in (frozen_copy(reference, images, labels), frozen)]
        if [(k, v.shape) for k, v in ends[0].items()] != [(k, v.shape) for k, v in ends[1].items()]:
            raise ValueError("The two models differ in their layers, so no line joins them. "
                             "Choose two models of the same architecture.")
        names = [name for name, _ in frozen.named_parameters()]
        length = math.sqrt(sum(float((ends[1][k] - ends[0][k]).double().square().sum().cpu()) for k in names))
        grid = np.linspace(0.0, 1.0, self.points)
        order = [0.0, 1.0, *(t for t in _coarse_to_fine(grid) if not np.isclose(t, (0.0, 1.0)).any())]
        seen: dict[float, tuple[float, float, float]] = {}
        for done, t in enumerate(order, start=1):
            interpolate(frozen, *ends, t)
            seen[t] = evaluate(frozen, images, labels)
            if done == 1:  # a line has two ends
                continue
            ts = np.array(sorted(seen))
            loss, stderr, ca = np.array([seen[float(s)] for s in ts]).T
            start, end = seen[0.0][0], seen[1.0][0]
            chord = start + ts * (end - start)
            values = {"loss_start": start, "loss_end": end,
                      "barrier": float((loss - chord).max()), "length": length,
                      "rate": RATE[self.data], **stamp()}
            yield Partial(values=values, arrays={"t": ts, "loss": loss, "loss_stderr": stderr, "ca": ca},
                          fraction=done / len(order), done=done == len(order))


@torch.no_grad()
def interpolate(model: nn.Module, start: dict[str, Tensor], end: dict[str, Tensor], t: float) -> None:
    """Set parameters and running statistics of `model` to (1 - t) start + t end; counters stay."""
    for name, value in model.state_dict().items():  # the tensors of the model itself, not copies
        if not value.is_floating_point():
            continue
        value.copy_((1 - t) * start[name] + t * end[name])


def _coarse_to_fine(grid: np.ndarray) -> list[float]:
    """The points of `grid`, each fourth first, then each second, then the rest."""
    order: dict[float, None] = {}
    for stride in (4, 2, 1):
        order.update(dict.fromkeys(float(t) for t in grid[::stride]))
    return list(order)
