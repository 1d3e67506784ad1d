"""The straight line in weight space from the model before purification to the model after it.

Goodfellow, Vinyals, Saxe 2015 (arXiv 1412.6544). BatchNorm running statistics are interpolated with
the weights or estimated anew, because statistics of one end do not fit the weights of the other.
The line ends at the models: beyond them an extrapolated variance soon reaches zero and the loss
explodes, which says nothing about the landscape. When only the last layer moved the loss along the
line is convex.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor, nn

from analysis.landscape.interpolation import BETWEEN, BETWEEN_HELP, differing, length, states_of
from analysis.landscape.loss_at import Reading, Walker
from analysis.landscape.progressive_surface import finite
from analysis.measurements.base import Measurement, Needs
from analysis.model_under_test import frozen_copy
from analysis.result import Partial
from ngf.options import option


@dataclass(frozen=True, kw_only=True)
class LossLine(Measurement):
    """Loss and accuracy on the line from the backdoored weights (t = 0) to the purified ones (t =
    1).

    Values: loss_start, loss_end, barrier (how far the loss rises above the straight line between
    its ends, at the points measured; 0 for a convex loss), length (distance of the weights), rate
    (which rate `ca` is on these data), batch_norm_between. Arrays: t (M,) ascending, loss,
    loss_stderr (over images), ca. M grows.
    """

    title: ClassVar[str] = "Line from backdoored to purified"

    points: int = option(
        25, "Points from t = 0 to t = 1, both ends included.", unit="points", ge=3, le=401
    )
    batch_norm_between: str = option("interpolated", BETWEEN_HELP, choices=BETWEEN, expert=True)

    def needs(self) -> Needs:
        return Needs(models="pair", reference=True, all_images=True)

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
                "A line needs two models. Choose a purified model (run:lane); its backdoored "
                "parent is the other end."
            )
        stamp = self.stamp(images, seed)
        frozen = frozen_copy(model, images, labels)
        ends = states_of((reference, frozen), images, labels)
        weights = [name for name, _ in frozen.named_parameters()]
        walker = Walker(frozen, images, labels, differing(ends), between=self.batch_norm_between)
        distance = length(*ends, weights)
        grid = np.linspace(0.0, 1.0, self.points)
        order = [
            0.0,
            1.0,
            *(t for t in _coarse_to_fine(grid) if not np.isclose(t, (0.0, 1.0)).any()),
        ]
        seen: dict[float, Reading] = {}
        for done, t in enumerate(order, start=1):
            (seen[t],) = walker.read(ends, [(1 - t, t)])
            if done == 1:  # a line has two ends
                continue
            ts = np.array(sorted(seen))
            loss, stderr, ca = np.array([seen[float(s)] for s in ts]).T
            loss = finite(loss)
            start, end = float(loss[0]), float(loss[-1])
            chord = start + ts * (end - start)
            values = {
                "loss_start": start,
                "loss_end": end,
                "barrier": float((loss - chord).max()),
                "length": distance,
                "rate": self.rate,
                "batch_norm_between": self.batch_norm_between,
                **stamp(),
            }
            yield Partial(
                values=values,
                arrays={"t": ts, "loss": loss, "loss_stderr": finite(stderr), "ca": ca},
                fraction=done / len(order),
                done=done == len(order),
            )


def _coarse_to_fine(grid: np.ndarray) -> list[float]:
    """The points of `grid`, each fourth first, then each second, then the rest."""
    order: dict[float, None] = {}
    for stride in (4, 2, 1):
        order.update(dict.fromkeys(float(t) for t in grid[::stride]))
    return list(order)
