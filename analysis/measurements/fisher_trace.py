"""Trace of the true Fisher information, of the whole network and layer by layer, beside the
empirical one.

One backward pass for random residuals gives an unbiased sample (see `analysis.curvature.fisher`;
Liu et al. 2023, arXiv 2305.14342). Changed: random signs instead of labels are the default (Tanabe,
Sagae 1992), and the sum runs over groups of images, whose results are averaged, which scatters less
than one sum over all. The last linear layer has a closed form. The trace of the *empirical* Fisher,
1/n sum of |g_i|^2 with the labels of the data, belongs to a different matrix and says something
else (Kunstner et al. 2019, arXiv 1905.12558); it needs the gradient of each image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from scipy.special import stdtrit  # scipy.stats takes half a second more to import
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.curvature.fisher import sampled_traces, standard_error
from analysis.curvature.gradients import per_image_gradients, predictions
from analysis.curvature.last_layer import LastLayer
from analysis.measurements.base import Measurement
from analysis.model_under_test import frozen_copy, parameters_by_layer, parameters_of
from analysis.result import Partial, Value
from ngf.options import option


@dataclass(frozen=True, kw_only=True)
class FisherTrace(Measurement):
    """Trace of the true Fisher information: how sharply the model's own predictions react to its
    weights.

    The labels of the data play a part in the empirical trace only.

    Values:
        fisher_trace, fisher_trace_stderr: of all draws so far.
        fisher_trace_low, fisher_trace_high: the 95 % interval.
        num_draws: draws so far.
        num_parameters: of the measured layers.
        last_layer_trace: of the last linear layer, weights and bias, exactly; None if the model
            does not end in one.
        empirical_trace, empirical_trace_stderr: at the end; the error is over images.

    Arrays:
        layers: (L,), names of all measured modules with parameters, BatchNorm included.
        layer_trace, layer_trace_stderr: (L,), their shares of the trace.
        layer_size: (L,), their numbers of parameters.
    """

    title: ClassVar[str] = "Fisher trace"

    draws: int = option(20, "Random draws for each image.", unit="draws", ge=2, le=10_000)
    sampling: str = option(
        "signs",
        "Random signs, or labels drawn from the predictions.",
        choices=("signs", "labels"),
        expert=True,
    )
    group: int = option(
        32,
        "Images in one backward pass; fewer give a smaller error bar.",
        unit="images",
        ge=1,
        le=100_000,
        expert=True,
    )
    empirical: bool = option(
        True, "Measure the empirical Fisher trace, too; it costs about two draws.", expert=True
    )

    def measure(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        seed: int,
    ) -> Iterator[Partial]:
        """As `Measurement.measure` says; yields after each draw from the second one on."""
        stamp = self.stamp(images, seed)
        generator = torch.Generator().manual_seed(seed)
        frozen = frozen_copy(model, images, labels)
        last = LastLayer.of(frozen, images)
        layers = parameters_by_layer(frozen, self.layers)
        sizes = np.array(
            [sum(frozen.get_parameter(name).numel() for name in own) for own in layers.values()]
        )
        values: dict[str, Value] = {
            "last_layer_trace": float(last.fisher().trace()) if last else None
        }
        if self.empirical:
            values |= {"empirical_trace": None, "empirical_trace_stderr": None}
        work = self.draws + 2 * self.empirical
        samples: list[np.ndarray] = []
        arrays: dict[str, np.ndarray] = {}
        for draw in range(1, self.draws + 1):
            samples.append(
                sampled_traces(
                    frozen,
                    layers,
                    images,
                    sampling=self.sampling,
                    group=self.group,
                    generator=generator,
                )
            )
            if draw == 1:  # one draw has no error bar
                continue
            per_layer = np.array(samples)  # (draws, layers)
            total = per_layer.sum(1)
            mean, stderr = float(total.mean()), float(standard_error(total))
            half = float(stdtrit(draw - 1, 0.975)) * stderr  # 2.5 % are left out at either end
            values |= {
                "fisher_trace": mean,
                "fisher_trace_stderr": stderr,
                "fisher_trace_low": mean - half,
                "fisher_trace_high": mean + half,
                "num_draws": draw,
                "num_parameters": int(sizes.sum()),
            }
            arrays = {
                "layers": np.array(list(layers)),
                "layer_trace": per_layer.mean(0),
                "layer_trace_stderr": standard_error(per_layer),
                "layer_size": sizes,
            }
            yield Partial(
                values={**values, **stamp()}, arrays=arrays, fraction=draw / work, done=draw == work
            )
        if self.empirical:
            norms = empirical_norms(frozen, parameters_of(frozen, self.layers), images, labels)
            values["empirical_trace"] = float(norms.mean())
            values["empirical_trace_stderr"] = (
                float(norms.std()) / math.sqrt(len(norms)) if len(norms) > 1 else None
            )
            yield Partial(values={**values, **stamp()}, arrays=arrays, fraction=1.0, done=True)


def empirical_norms(model: nn.Module, names: list[str], images: Tensor, labels: Tensor) -> Tensor:
    """|g_i|^2, one value per image, with g_i the gradient of image i's loss for the parameters
    `names`: float64 (N,) on the CPU.
    """
    p = predictions(model, images).softmax(1)
    weights = p - F.one_hot(labels, p.shape[1])
    norms = []
    for gradient in per_image_gradients(model, names, images, weights):
        squares = [part.flatten(1).square().sum(1) for part in gradient.values()]
        norms.append(sum(squares[1:], squares[0]).cpu().double())
    return torch.cat(norms)
