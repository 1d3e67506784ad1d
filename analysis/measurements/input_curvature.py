"""Curvature of the loss for the pixels of an image, image by image: on clean images and on
triggered ones.

Largest eigenvalue and trace of the Hessian of each image's loss for its own pixels (see
`analysis.curvature.input_hessian`). Moosavi-Dezfooli et al. 2019 (CURE, arXiv 1811.09716) take the
same eigenvalues for robustness against small changes of an image. No rescaling of the weights
changes them, because they belong to the function and not to its weights. They scatter over many
powers of ten between images, so the median and the whole distribution are told beside the mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Generator, Tensor, nn

from analysis.curvature.input_hessian import InputHessian, top_each, trace_each
from analysis.measurements.base import Measurement, Picture
from analysis.model_under_test import chunks, frozen_copy
from analysis.quantiles import LEVELS, mean_and_median, quantiles
from analysis.result import Partial, Value
from ngf.options import option

# Images in one graph: more gain nothing on a CPU. At least four chunks, so that there is something
# to see early.
_CHUNK, _LEAST_CHUNKS = 64, 4


@dataclass(frozen=True, kw_only=True)
class InputCurvature(Measurement):
    """How sharply the loss of an image bends when its pixels change, image by image.

    In nats for pixels in [0, 1]. In a network of convolutions, ReLU and BatchNorm it does not
    depend on the labels.

    Values, of the images so far; errors are over images:
        num_measured: images so far.
        input_lambda_max_mean, input_lambda_max_median: of the largest eigenvalue of each image's
            Hessian, with input_lambda_max_mean_stderr and input_lambda_max_median_stderr.
        input_lambda_max_bound: mean bound of the error that Lanczos makes.
        input_trace_mean, input_trace_median: of the trace of each image's Hessian, with
            input_trace_mean_stderr and input_trace_median_stderr.
        input_trace_bound: root mean square standard error of an image's trace, of its probes.

    Arrays:
        level: (L,), shares of the images.
        input_lambda_max_quantile, input_trace_quantile: (L,), what so many images stay below, with
            input_lambda_max_quantile_stderr and input_trace_quantile_stderr.
        lambda_max, lambda_max_error, trace, image_loss: (n,), image by image.
    """

    title: ClassVar[str] = "Curvature for the pixels"
    picture: ClassVar[Picture] = Picture(
        question="How sharply does the loss bend when the pixels of an image change, and on how "
        "many images?",
        value="input_lambda_max_quantile",
        label="Largest eigenvalue of the input Hessian",
        error="input_lambda_max_quantile_stderr",
        over="level",
        over_label="Share of the images that stay below",
        log=True,
        cannot="It tells how the loss bends right at an image. A trigger is a large step away from "
        "it, and where a model is sure of its answer the loss is flat, with a backdoor or without.",
    )

    num_images: int = option(
        256, "Images to measure on, drawn by the seed.", unit="images", ge=1, le=100_000
    )
    steps: int = option(8, "Lanczos steps for each image.", unit="products", ge=1, le=200)
    probes: int = option(
        3, "Random vectors for each image's trace.", unit="products", ge=2, le=1000
    )

    def measure(
        self, model: nn.Module, images: Tensor, labels: Tensor, *, seed: int
    ) -> Iterator[Partial]:
        """As `Measurement.measure` says; yields after each piece of the images."""
        stamp = self.stamp(images, seed)
        generator = Generator().manual_seed(seed)
        frozen = frozen_copy(model, images, labels)
        size = max(1, min(_CHUNK, -(-len(images) // _LEAST_CHUNKS)))
        found: list[dict[str, np.ndarray]] = []
        done = 0
        for x, y in chunks(images, labels, size):
            found.append(self._each(frozen, x, y, generator))
            done += len(x)
            arrays = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
            squares = arrays.pop("trace_variance")
            bounds = {
                "input_lambda_max_bound": float(arrays["lambda_max_error"].mean()),
                "input_trace_bound": math.sqrt(float(squares.mean())),
            }
            values: dict[str, Value] = {"num_measured": done, **bounds}
            arrays["level"] = LEVELS
            for name in ("lambda_max", "trace"):
                values |= mean_and_median(f"input_{name}", arrays[name])
                at = quantiles(arrays[name])
                arrays[f"input_{name}_quantile"] = at.value
                arrays[f"input_{name}_quantile_stderr"] = at.stderr
            yield Partial(
                values={**values, **stamp()},
                arrays=arrays,
                fraction=done / len(images),
                done=done == len(images),
            )

    def _each(
        self, frozen: nn.Module, images: Tensor, labels: Tensor, generator: Generator
    ) -> dict[str, np.ndarray]:
        """What is known of each of these images, (n,) each."""
        hessian = InputHessian(frozen, images, labels)
        count = hessian.shape[1]
        starts, signs = [], []
        for _ in images:  # image by image, so that pieces of another size change no number
            starts.append(torch.randn(count, generator=generator, dtype=torch.float64))
            signs.append(torch.randint(0, 2, (self.probes, count), generator=generator) * 2 - 1)
        known = top_each(hessian, torch.stack(starts).to(images), self.steps)
        samples = np.array(list(trace_each(hessian, known, torch.stack(signs).to(images))))
        return {
            "lambda_max": known.value,
            "lambda_max_error": known.residual,
            "trace": samples.mean(0),
            "trace_variance": samples.var(0, ddof=1) / self.probes,
            "image_loss": hessian.losses.cpu().double().numpy(),
        }
