"""Curvature matrices as objects that support `@`.

For the mean cross-entropy L(theta) = 1/n sum_i -log p(y_i | x_i, theta), with logits f and p = softmax(f):

    Hessian       H = d^2 L / d theta^2                               H v = d/d theta (grad L . v)
    GaussNewton   G = 1/n sum_i J_i^T (diag p_i - p_i p_i^T) J_i      J_i = d f_i / d theta

G is also the true Fisher matrix, E over y ~ p of g g^T, because cross-entropy is the negative log-likelihood
of a softmax; it needs no labels. For a last linear layer H = G.

Cost: reverse over reverse. One product is two gradients once the graph of the gradient exists, so the graphs
are kept, up to `cache_bytes`; a chunk without one builds it again for each product (3.6 gradients instead
of 2.1, measured on a small convolutional network). Chunks of 32 to 64 images suit a processor's caches.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.frozen import exact_float32, frozen_copy


class CurvatureOperator:
    """A symmetric matrix over the parameters `names` of `model` (default: all), in their order.

    images: float (N, C, H, W); labels: int64 (N,). The model is copied, never changed.
    size: number of parameters; dtype, device: of the vectors; blocks: parameter name -> its slice.
    Raises ValueError for unknown names and for the reasons of `frozen_copy`.
    """

    def __init__(self, model: nn.Module, images: Tensor, labels: Tensor, *,
                 names: Iterable[str] | None = None, chunk: int = 64, cache_bytes: int = 2**30) -> None:
        if chunk < 1:
            raise ValueError(f"chunk = {chunk} is out of range. Allowed: 1 or more.")
        self._model = frozen_copy(model, images, labels)
        known = dict(self._model.named_parameters())
        chosen = list(known if names is None else dict.fromkeys(names))
        unknown = [name for name in chosen if name not in known]
        if unknown or not chosen:
            raise ValueError(f"Unknown parameters {', '.join(unknown) or '(none given)'}. "
                             f"Allowed: {', '.join(known)}.")
        self._parameters = [known[name].requires_grad_() for name in chosen]
        sizes = [p.numel() for p in self._parameters]
        ends = torch.tensor(sizes).cumsum(0).tolist()
        self.blocks = {name: slice(end - size, end)
                       for name, size, end in zip(chosen, sizes, ends, strict=True)}
        self.size, self.dtype, self.device = ends[-1], self._parameters[0].dtype, self._parameters[0].device
        self.num_images = len(images)
        self._chunks = list(zip(images.split(chunk), labels.split(chunk), strict=True))
        self._cache_bytes = cache_bytes
        self._num_cached: int | None = None
        self._graphs: dict[int, Any] = {}

    def __matmul__(self, vector: Tensor) -> Tensor:
        """The product with a vector (size,); sums over chunks in float64, returned in `dtype`."""
        if vector.shape != (self.size,):
            raise ValueError(f"The vector has shape {tuple(vector.shape)}, the operator needs "
                             f"({self.size},).")
        pieces = vector.to(self.device, self.dtype).split([p.numel() for p in self._parameters])
        pieces = [piece.view_as(p) for piece, p in zip(pieces, self._parameters, strict=True)]
        # Apple's GPUs have no float64; there the sum stays in float32.
        wide = torch.float32 if self.device.type == "mps" else torch.float64
        total = torch.zeros(self.size, dtype=wide, device=self.device)
        with exact_float32():
            for index in range(len(self._chunks)):
                product = self._product(self._graph_of(index), pieces)
                total += torch.cat([part.reshape(-1) for part in product])
        return (total / self.num_images).to(self.dtype)

    def _graph_of(self, index: int) -> Any:
        if index in self._graphs:
            return self._graphs[index]
        if self._num_cached is None:
            self._num_cached = self._how_many_fit()
        graph = self._graph(*self._chunks[index])
        if index < self._num_cached:
            self._graphs[index] = graph
        return graph

    def _how_many_fit(self) -> int:
        """Number of chunks whose graphs fit the budget, from the graph of a few images."""
        images, labels = self._chunks[0]
        few = images[:4], labels[:4]
        known = {p.untyped_storage().data_ptr() for p in self._model.parameters()}
        kept: dict[int, torch.UntypedStorage] = {}  # the storages are held so that no address comes twice

        def count(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in known:
                kept[storage.data_ptr()] = storage
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            graph = self._graph(*few)
        bytes_per_image = sum(storage.nbytes() for storage in kept.values()) / len(few[0])
        del graph
        return int(self._cache_bytes // max(1.0, bytes_per_image * len(images)))

    def _graph(self, images: Tensor, labels: Tensor) -> Any:
        """What can be kept of a chunk between products."""
        raise NotImplementedError

    def _product(self, graph: Any, vector: list[Tensor]) -> list[Tensor]:
        """The product for a chunk, summed over its images, shaped like the parameters."""
        raise NotImplementedError

    def _pull_back(self, outputs: Iterable[Tensor], weights: Iterable[Tensor]) -> list[Tensor]:
        """sum of d output / d theta, weighted; outputs that depend on no parameter count as zero."""
        pairs = [(out, w) for out, w in zip(outputs, weights, strict=True) if out.requires_grad]
        if not pairs:
            return [torch.zeros_like(p) for p in self._parameters]
        outs, ws = zip(*pairs, strict=True)
        return list(torch.autograd.grad(outs, self._parameters, ws, retain_graph=True,
                                        allow_unused=True, materialize_grads=True))


class Hessian(CurvatureOperator):
    """Second derivatives of the mean cross-entropy."""

    def _graph(self, images: Tensor, labels: Tensor) -> list[Tensor]:
        loss = F.cross_entropy(self._model(images), labels, reduction="sum")
        return list(torch.autograd.grad(loss, self._parameters, create_graph=True,
                                        allow_unused=True, materialize_grads=True))

    def _product(self, gradient: list[Tensor], vector: list[Tensor]) -> list[Tensor]:
        return self._pull_back(gradient, vector)


class GaussNewton(CurvatureOperator):
    """The Gauss-Newton matrix, which is the true Fisher matrix of a softmax classifier."""

    def _graph(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        logits = self._model(images)  # (n, C)
        dual = torch.zeros_like(logits, requires_grad=True)
        # J^T u is linear in u, so its derivative along v is J v: a forward product by two reverse ones.
        pulled = torch.autograd.grad(logits, self._parameters, dual, create_graph=True,
                                     allow_unused=True, materialize_grads=True)
        return logits, dual, list(pulled)

    def _product(self, graph: tuple[Tensor, Tensor, list[Tensor]], vector: list[Tensor]) -> list[Tensor]:
        logits, dual, pulled = graph
        pairs = [(out, v) for out, v in zip(pulled, vector, strict=True) if out.requires_grad]
        outs, vs = zip(*pairs, strict=True)
        (pushed,) = torch.autograd.grad(outs, dual, vs, retain_graph=True)  # J v: (n, C)
        p = logits.detach().softmax(1)
        curved = p * pushed - p * (p * pushed).sum(1, keepdim=True)
        return self._pull_back([logits], [curved])
