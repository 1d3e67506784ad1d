"""Trace of the true Fisher information, of the whole network and layer by layer, beside the
empirical one.

One backward pass for random residuals gives an unbiased sample (see `analysis.curvature.fisher`;
Liu et al. 2023, arXiv 2305.14342). Changed: random signs instead of labels are the default (Tanabe,
Sagae 1992), and the sum runs over groups of images, whose results are averaged, which scatters less
than one sum over all. The last linear layer has a closed form. The *empirical* Fisher, 1/n sum of
|g_i|^2 with the labels of the data, is a different matrix and says something else (Kunstner et al.
2019, arXiv 1905.12558); it needs the gradient of each image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.curvature.fisher import sampled_gradients
from analysis.curvature.gradients import per_image_gradients, predictions
from analysis.curvature.intervals import student
from analysis.curvature.last_layer import LastLayer
from analysis.measurements.base import Measurement
from analysis.model_under_test import frozen_copy, parameters_of
from analysis.result import Partial, Value
from ngf.options import option


@dataclass(frozen=True, kw_only=True)
class FisherTrace(Measurement):
    """Trace of the true Fisher information: how sharply the model's own predictions react to its
    weights.

    The labels of the data play a part in the empirical one only. Values: fisher_trace,
    fisher_trace_stderr (over draws), fisher_trace_low, fisher_trace_high (95 % interval),
    num_draws, last_layer_trace (the last linear layer, weights and bias, exactly; None if the model
    does not end in one), and at the end empirical_trace, empirical_trace_stderr (over images).
    Arrays: layers (names of all modules with parameters, BatchNorm included), layer_trace and
    layer_trace_stderr (their share of the sum), layer_size (parameters).
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
        """images: float (N, C, H, W) in [0, 1]; labels: int64 (N,)."""
        stamp = self.stamp(images, seed)
        generator = torch.Generator().manual_seed(seed)
        frozen = frozen_copy(model, images, labels)
        last = LastLayer.of(frozen, images)
        names = parameters_of(frozen, self.layers)
        layers: dict[str, list[nn.Parameter]] = {}
        for name in names:
            parameter = frozen.get_parameter(name).requires_grad_(True)
            layers.setdefault(name.rpartition(".")[0] or "model", []).append(parameter)
        sizes = np.array([sum(p.numel() for p in group) for group in layers.values()])
        values: dict[str, Value] = {
            "last_layer_trace": float(last.fisher().trace()) if last else None
        }
        if self.empirical:
            values |= {"empirical_trace": None, "empirical_trace_stderr": None}
        work = self.draws + 2 * self.empirical
        samples, arrays = [], {}
        for draw in range(1, self.draws + 1):
            samples.append(self._draw(frozen, list(layers.values()), images, generator))
            if draw == 1:  # one draw has no error bar
                continue
            per_layer = np.array(samples)  # (draws, layers)
            total = per_layer.sum(1)
            mean, stderr = float(total.mean()), float(_stderr(total))
            half = student(draw - 1) * stderr
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
                "layer_trace_stderr": _stderr(per_layer),
                "layer_size": sizes,
            }
            yield Partial(
                values={**values, **stamp()}, arrays=arrays, fraction=draw / work, done=draw == work
            )
        if self.empirical:
            norms = empirical_norms(frozen, names, images, labels)
            values["empirical_trace"] = float(norms.mean())
            values["empirical_trace_stderr"] = (
                float(norms.std()) / math.sqrt(len(norms)) if len(norms) > 1 else None
            )
            yield Partial(values={**values, **stamp()}, arrays=arrays, fraction=1.0, done=True)

    def _draw(
        self,
        model: nn.Module,
        layers: list[list[nn.Parameter]],
        images: Tensor,
        generator: torch.Generator,
    ) -> np.ndarray:
        """Tr F of each layer from one draw for every image; its mean over draws is unbiased."""
        parameters = [parameter for layer in layers for parameter in layer]
        counts = [len(layer) for layer in layers]
        traces = np.zeros(len(layers))
        for gradient in sampled_gradients(
            model, parameters, images, self.sampling, self.group, generator
        ):
            squares = torch.stack([(g * g).sum() for g in gradient]).cpu().double().numpy()
            traces += np.add.reduceat(squares, np.cumsum([0, *counts[:-1]]))
        return traces / len(images)


def empirical_norms(model: nn.Module, names: list[str], images: Tensor, labels: Tensor) -> Tensor:
    """|g_i|^2 (N,) in float64 on the CPU, g_i the gradient of image i's loss for the
    parameters `names`.
    """
    p = predictions(model, images).softmax(1)
    weights = p - F.one_hot(labels, p.shape[1])
    return torch.cat(
        [
            sum(part.flatten(1).square().sum(1) for part in gradient.values()).cpu().double()
            for gradient in per_image_gradients(model, names, images, weights)
        ]
    )


def _stderr(samples: np.ndarray) -> np.ndarray:
    return samples.std(0, ddof=1) / np.sqrt(len(samples))
