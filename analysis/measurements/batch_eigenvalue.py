"""Distribution of the largest Hessian eigenvalue over mini-batches.

SGD sees the loss of one mini-batch at a time, and by Jensen's inequality the largest eigenvalue is
on average larger there than on all images together: lambda_max of a mean of matrices is at most the
mean of theirs. How far it scatters tells whether the sharpness belongs to all images or to a few
(Jastrzebski et al. 2020, arXiv 2002.09572, follow it along a training). Each eigenvalue comes with
the bound of its Lanczos residual.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Generator, Tensor, nn

from analysis.curvature.krylov import Ritz, lanczos
from analysis.curvature.operators import Hessian
from analysis.measurements.base import Measurement, Picture
from analysis.model_under_test import chunks, evaluate, frozen_copy, parameters_of
from analysis.quantiles import LEVELS, mean_and_median, quantiles
from analysis.result import Partial, Value
from ngf.options import option


@dataclass(frozen=True, kw_only=True)
class BatchEigenvalue(Measurement):
    """Largest Hessian eigenvalue of each mini-batch, BatchNorm in eval mode.

    The images are cut in the order in which the seed draws them; what is left over after the last
    whole batch is not measured, unless there is no whole one.

    Values, of the batches so far; errors are over batches, None for a single one:
        batch_lambda_max_mean, batch_lambda_max_mean_stderr: over batches.
        batch_lambda_max_median, batch_lambda_max_median_stderr: likewise.
        batch_lambda_max_bound: the worst bound of a batch, as a share of its eigenvalue.
        num_batches, batch_images: batches so far, and images in each.
        num_hvps: Hessian-vector products so far.
        note: only if memory ran out.

    Arrays:
        level: (L,), shares of the batches.
        batch_lambda_max_quantile, batch_lambda_max_quantile_stderr: (L,), what so many batches
            stay below.
        lambda_max, lambda_max_error, loss: (B,), batch by batch; an eigenvalue lies within the
            error, and the loss is in nats.
    """

    title: ClassVar[str] = "Largest eigenvalue by mini-batch"
    picture: ClassVar[Picture] = Picture(
        question="Is the minimum as sharp for every mini-batch, or only for a few?",
        value="batch_lambda_max_quantile",
        label="Largest Hessian eigenvalue of a mini-batch",
        error="batch_lambda_max_quantile_stderr",
        over="level",
        over_label="Share of the mini-batches that stay below",
        log=True,
        cannot="A mini-batch with one image that the model gets wrong is sharp, whatever the "
        "minimum is like: compare models at the same loss.",
    )

    num_images: int = option(
        1280, "Images to measure on, drawn by the seed.", unit="images", ge=1, le=100_000
    )
    batch: int = option(64, "Images in one mini-batch.", unit="images", ge=1, le=8192)
    steps: int = option(
        20, "Most Lanczos steps for each mini-batch.", unit="products", ge=1, le=500
    )
    tolerance: float = option(
        0.02, "Relative error of an eigenvalue that ends its search.", ge=1e-6, le=0.5
    )

    def measure(
        self, model: nn.Module, images: Tensor, labels: Tensor, *, seed: int
    ) -> Iterator[Partial]:
        """As `Measurement.measure` says; yields after each product of the first batch, then after
        each batch.
        """
        stamp = self.stamp(images, seed)
        generator = Generator().manual_seed(seed)
        frozen = frozen_copy(model, images, labels)
        names = parameters_of(frozen, self.layers)
        count = max(1, len(images) // self.batch)
        found: list[tuple[float, float, float]] = []
        products = 0
        notes: dict[str, Value] = {}
        for x, y in list(chunks(images, labels, self.batch))[:count]:
            hessian = Hessian(frozen, x, y, names=names)
            loss = evaluate(frozen, x, y).loss
            for known in self._until_certain(hessian, generator):
                products += 1
                top = (float(known.values[-1]), float(known.residuals[-1]), loss)
                if not found:
                    more = {"batch_images": len(x), "num_hvps": products, **stamp()}
                    share = products / (self.steps + 1) / count
                    yield _partial([top], more, share)
            found.append(top)
            notes = {"note": hessian.note} if hessian.note else notes
            more = {"batch_images": len(x), "num_hvps": products, **notes, **stamp()}
            yield _partial(found, more, len(found) / count)

    def _until_certain(self, hessian: Hessian, generator: Generator) -> Iterator[Ritz]:
        """The Ritz pairs until the largest is certain enough, or after all steps."""
        for known in lanczos(hessian, self.steps, generator):
            yield known
            if known.residuals[-1] <= self.tolerance * abs(known.values[-1]):
                return


def _partial(
    found: Sequence[tuple[float, float, float]], more: Mapping[str, Value], fraction: float
) -> Partial:
    """What eigenvalue, bound and loss of each batch say together; `more` values stand beside."""
    top, bound, losses = np.array(found).T
    at = quantiles(top)
    return Partial(
        values={
            **mean_and_median("batch_lambda_max", top),
            "batch_lambda_max_bound": _worst(top, bound),
            "num_batches": len(found),
            **more,
        },
        arrays={
            "level": LEVELS,
            "batch_lambda_max_quantile": at.value,
            "batch_lambda_max_quantile_stderr": at.stderr,
            "lambda_max": top,
            "lambda_max_error": bound,
            "loss": losses,
        },
        fraction=fraction,
        done=fraction == 1,
    )


def _worst(top: np.ndarray, bound: np.ndarray) -> float:
    """The largest bound as a share of its eigenvalue; of one that is zero it is no share."""
    sharp = top != 0
    return float((bound[sharp] / np.abs(top[sharp])).max()) if sharp.any() else 0.0
