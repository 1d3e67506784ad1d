"""Trace of the true Fisher information, of the whole network and layer by layer.

F = E_x E_{y ~ p(. | x)} g g^T with g the gradient of -log p(y | x) = J^T (p - e_y), J the Jacobian of the
logits. For independent random u_i of mean zero and covariance diag p_i - p_i p_i^T the cross terms of a sum
over images vanish: E ||sum_i J_i^T u_i||^2 = n Tr F, so one ordinary backward pass gives an unbiased sample
(the Gauss-Newton-Bartlett estimator, Liu et al. 2023, arXiv 2305.14342). Two ways to draw u:

    labels  u = p - e_y, y ~ p                        as published; a rare label of a sure network weighs a lot
    signs   u = S z, z = +-1, S S^T = diag p - p p^T with S triangular (Tanabe, Sagae 1992): no rare events,
            and no scatter at all from an image that hesitates between two classes

Changed: `signs` is the default, and the sum runs over groups of images, whose results are averaged, which
scatters less than one sum over all. The *empirical* Fisher (labels of the data) is a different matrix and is
not measured here (Kunstner et al. 2019, arXiv 1905.12558).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from analysis.frozen import exact_float32, frozen_copy
from analysis.measurement import Measurement
from analysis.partial import Partial
from ngf.config import option


@dataclass(frozen=True, kw_only=True)
class FisherTrace(Measurement):
    """Trace of the true Fisher information: how sharply the model's own predictions react to its weights.

    The labels of the data play no part. Values: fisher_trace, fisher_trace_stderr (over draws), num_draws.
    Arrays: layers (names of all modules with parameters, BatchNorm included), layer_trace and
    layer_trace_stderr (their share of the sum), layer_size (parameters).
    """

    title: ClassVar[str] = "Fisher trace"

    draws: int = option(20, "Random draws for each image.", unit="draws", ge=2, le=10_000)
    sampling: str = option("signs", "Random signs, or labels drawn from the predictions.",
                           choices=("signs", "labels"), expert=True)
    group: int = option(32, "Images in one backward pass; fewer give a smaller error bar.", unit="images",
                        ge=1, le=100_000, expert=True)

    def measure(self, model: nn.Module, images: Tensor, labels: Tensor, *, seed: int,
                reference: nn.Module | None = None) -> Iterator[Partial]:
        """images: float (N, C, H, W) in [0, 1]; labels: int64 (N,). `reference` is not used."""
        stamp = self.stamp(images, seed)
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
            values = {"fisher_trace": float(total.mean()), "fisher_trace_stderr": float(_stderr(total)),
                      "num_draws": draw, "num_parameters": int(sizes.sum()), **stamp()}
            arrays = {"layers": np.array(list(layers)), "layer_trace": per_layer.mean(0),
                      "layer_trace_stderr": _stderr(per_layer), "layer_size": sizes}
            yield Partial(values=values, arrays=arrays, fraction=draw / self.draws, done=draw == self.draws)

    def _draw(self, model: nn.Module, layers: list[list[nn.Parameter]], images: Tensor,
              generator: Generator) -> np.ndarray:
        """Tr F of each layer from one draw for every image; its mean over draws is unbiased."""
        parameters = [parameter for layer in layers for parameter in layer]
        counts = [len(layer) for layer in layers]
        traces = np.zeros(len(layers))
        for x in images.split(self.group):
            with exact_float32():
                logits = model(x)
                u = _residuals(logits.detach().softmax(1), self.sampling, generator)
                gradient = torch.autograd.grad(logits, parameters, u, allow_unused=True,
                                               materialize_grads=True)
            squares = torch.stack([(g * g).sum() for g in gradient]).cpu().double().numpy()
            traces += np.add.reduceat(squares, np.cumsum([0, *counts[:-1]]))
        return traces / len(images)


def _residuals(p: Tensor, sampling: str, generator: Generator) -> Tensor:
    """Random (n, C) of mean zero and covariance diag p - p p^T in each row, for probabilities p (n, C)."""
    if sampling == "labels":
        uniform = torch.rand(len(p), 1, generator=generator).to(p)
        labels = (p.cumsum(1) < uniform).sum(1).clamp(max=p.shape[1] - 1)
        return p - F.one_hot(labels, p.shape[1])
    # Column j of the triangular root, classes by falling p and q_j = sum of p after j:
    # sqrt(p_j q_j / q_{j-1}) (e_j - sum_{i>j} p_i / q_j e_i)
    z = (torch.randint(0, 2, p.shape, generator=generator) * 2 - 1).to(p)
    p, order = p.sort(dim=1, descending=True)
    upto = p.flip(1).cumsum(1).flip(1)  # q_{j-1}, summed from the small end: no cancellation
    after = F.pad(upto[:, 1:], (0, 1))  # q_j
    # sqrt(p_j / (q_j q_{j-1})) z_j, root by root because the product of two small q would vanish
    column = torch.where(after > 0, (p / upto).sqrt() / after.sqrt() * z, 0)
    before = F.pad(column.cumsum(1)[:, :-1], (1, 0))
    return torch.zeros_like(p).scatter(1, order, after * column - p * before)


def _stderr(samples: np.ndarray) -> np.ndarray:
    return samples.std(0, ddof=1) / np.sqrt(len(samples))
