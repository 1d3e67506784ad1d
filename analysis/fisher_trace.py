"""Trace of the true Fisher information, of the whole network and layer by layer.

F = E_x E_{y ~ p(. | x)} g g^T with g the gradient of -log p(y | x). Gradients at sampled labels have mean
zero, so the cross terms of a sum over images vanish: for a group of m images E ||sum_i g_i||^2 = sum_i
E ||g_i||^2, and one ordinary backward pass a group measures Tr F (the Gauss-Newton-Bartlett estimator, Liu
et al. 2023, arXiv 2305.14342). With one group this is n E ||grad L||^2; smaller groups cost as much and
scatter less, by the square root of the number of groups. The *empirical* Fisher (labels of the data) is a
different matrix and is not measured here (Kunstner et al. 2019, arXiv 1905.12558).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.frozen import chunks, exact_float32, frozen_copy
from analysis.measurement import Measurement
from analysis.partial import Partial
from ngf.config import option


@dataclass(frozen=True, kw_only=True)
class FisherTrace(Measurement):
    """Trace of the true Fisher information: how sharply the model's own predictions react to its weights.

    The labels of the data play no part. Values: fisher_trace, fisher_trace_stderr (over draws of labels),
    num_draws. Arrays: layers (names of all modules with parameters, BatchNorm included), layer_trace and
    layer_trace_stderr (their share of the sum), layer_size (parameters).
    """

    title: ClassVar[str] = "Fisher trace"

    draws: int = option(20, "Draws of labels for each image.", unit="draws", ge=2, le=10_000)
    group: int = option(16, "Images in one backward pass; fewer give a smaller error bar.", unit="images",
                        ge=1, le=100_000, expert=True)

    def measure(self, model: nn.Module, images: Tensor, labels: Tensor, *, seed: int,
                reference: nn.Module | None = None) -> Iterator[Partial]:
        """images: float (N, C, H, W) in [0, 1]; labels: int64 (N,). `reference` is not used."""
        facts = self.facts(images, seed)
        generator = torch.Generator().manual_seed(seed)
        frozen = frozen_copy(model, images, labels).requires_grad_(True)
        layers: dict[str, list[nn.Parameter]] = {}
        for name, parameter in frozen.named_parameters():
            layers.setdefault(name.rpartition(".")[0] or "model", []).append(parameter)
        sizes = np.array([sum(p.numel() for p in group) for group in layers.values()])
        samples = []
        for draw in range(1, self.draws + 1):
            samples.append(self._draw(frozen, list(layers.values()), images, generator))
            if draw == 1:  # one draw has no error bar
                continue
            per_layer = np.array(samples)  # (draws, layers)
            total = per_layer.sum(1)
            values = {"fisher_trace": float(total.mean()), "fisher_trace_stderr": _stderr(total),
                      "num_draws": draw, "num_parameters": int(sizes.sum()), **facts()}
            arrays = {"layers": np.array(list(layers)), "layer_trace": per_layer.mean(0),
                      "layer_trace_stderr": _stderr(per_layer), "layer_size": sizes}
            yield Partial(values=values, arrays=arrays, fraction=draw / self.draws, done=draw == self.draws)

    def _draw(self, model: nn.Module, layers: list[list[nn.Parameter]], images: Tensor,
              generator: torch.Generator) -> np.ndarray:
        """Tr F of each layer for one draw of labels for every image; the mean over draws is unbiased."""
        uniform = torch.rand(len(images), generator=generator)
        parameters = [parameter for layer in layers for parameter in layer]
        counts = [len(layer) for layer in layers]
        traces = np.zeros(len(layers))
        for x, u in chunks(images, uniform, self.group):
            with exact_float32():
                logits = model(x)
                labels = _sample(logits.detach(), u)
                loss = F.cross_entropy(logits, labels, reduction="sum")
                gradient = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
            squares = torch.stack([(g * g).sum() for g in gradient]).cpu().double().numpy()
            traces += np.add.reduceat(squares, np.cumsum([0, *counts[:-1]]))
        return traces / len(images)


def _sample(logits: Tensor, uniform: Tensor) -> Tensor:
    """Labels (n,) drawn from softmax(logits) by inverting its cumulative sum at `uniform` (n,)."""
    steps = logits.softmax(1).cumsum(1)
    return (steps < uniform.to(steps)[:, None]).sum(1).clamp(max=logits.shape[1] - 1)


def _stderr(samples: np.ndarray) -> np.ndarray | float:
    out = samples.std(0, ddof=1) / np.sqrt(len(samples))
    return float(out) if out.ndim == 0 else out
