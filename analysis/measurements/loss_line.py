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

from analysis.landscape.coarse_to_fine import order
from analysis.landscape.interpolation import BETWEEN, BETWEEN_HELP, differing, length, states_of
from analysis.landscape.loss_at import LossAt
from analysis.landscape.progressive_surface import finite
from analysis.measurements.base import Measurement, Needs
from analysis.model_under_test import Reading, frozen_copy
from analysis.result import Partial
from ngf.options import option

COARSE = 4  # every fourth point comes first: a quarter of the work shows the shape


@dataclass(frozen=True, kw_only=True)
class LossLine(Measurement):
    """Loss and accuracy on the line from the backdoored weights (t = 0) to the purified ones
    (t = 1).

    Values:
        loss_start, loss_end: at the ends, in nats.
        barrier: how far the loss rises above the straight line between its ends, at the points
            measured; 0 for a convex loss.
        length: distance between the weights.
        rate: what `ca` is called on these images.
        batch_norm_between: how running statistics were found between the models.

    Arrays, where M grows:
        t: (M,), ascending.
        loss, loss_stderr: (M,), the error is over images.
        ca: (M,), share of right answers.
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
        """As `Measurement.measure` says; yields after each point, from the second one on.

        reference: the model at t = 0.

        Raises ValueError without a reference, or when it is another architecture.
        """
        if reference is None:
            raise ValueError(
                "A line needs two models. Choose a purified model (run:lane); its backdoored "
                "parent is the other end."
            )
        stamp = self.stamp(images, seed)
        frozen = frozen_copy(model, images, labels)
        start, end = ends = states_of((reference, frozen), images, labels)
        loss_at = LossAt(frozen, images, labels, differing(ends), between=self.batch_norm_between)
        distance = length(start, end, [name for name, _ in frozen.named_parameters()])
        ts = np.linspace(0.0, 1.0, self.points).tolist()
        seen: dict[float, Reading] = {}
        for done, index in enumerate(order(self.points, COARSE), start=1):
            t = ts[index]
            (seen[t],) = loss_at(ends, [(1 - t, t)])
            if done == 1:  # a line has two ends
                continue
            at = sorted(seen)
            loss, stderr, ca = np.array([seen[s] for s in at]).T
            loss = finite(loss)
            chord = loss[0] + np.array(at) * (loss[-1] - loss[0])
            values = {
                "loss_start": float(loss[0]),
                "loss_end": float(loss[-1]),
                "barrier": float((loss - chord).max()),
                "length": distance,
                "rate": self.rate,
                "batch_norm_between": self.batch_norm_between,
                **stamp(),
            }
            yield Partial(
                values=values,
                arrays={
                    "t": np.array(at),
                    "loss": loss,
                    "loss_stderr": finite(stderr),
                    "ca": ca,
                },
                fraction=done / self.points,
                done=done == self.points,
            )
