"""Curvature matrices as objects that support `@`.

For the mean cross-entropy L(theta) = 1/n sum_i -log p(y_i | x_i, theta), with logits f,
p = softmax(f), J_i = d f_i / d theta and e_y a unit vector:

    Hessian          H = d^2 L / d theta^2, by H v = d/d theta (grad L . v)
    GaussNewton      G = 1/n sum_i J_i^T (diag p_i - p_i p_i^T) J_i
    SampledFisher    1/n sum_i mean over draws of g g^T, with g = J_i^T (p_i - e_y) and y ~ p_i
    EmpiricalFisher  1/n sum_i g g^T, with the labels of the data
    Scaled           D C D for a diagonal D and any C of the above

G is also the true Fisher matrix, E over y ~ p of g g^T, because cross-entropy is the negative
log-likelihood of a softmax; it needs no labels, and SampledFisher tends to it. EmpiricalFisher is
another matrix (Kunstner et al. 2019, arXiv 1905.12558). For a last linear layer H = G (see
`last_layer`).

Cost: reverse over reverse. One product is two gradients once the graph of the gradient exists, so
the graphs are kept, up to `cache_bytes`; a chunk without one builds it again for each product (3.6
gradients instead of 2.1, measured on a small convolutional network). On a ResNet of 78,000
parameters, 512 images and one CPU thread, a product costs 2.4, 2.2 and 2.2 of the fastest gradients
for chunks of 32, 64 and 128 images (1.9, 1.9 and 2.2 of the gradient in the same chunks), one with
GaussNewton 2.3, 2.0 and 2.0: 64 needs less memory than 128 where the graphs do not fit.

When memory runs out, the kept graphs are dropped and the budget halves; when none are kept, the
chunk halves. Neither changes the numbers by more than rounding. `note` then says what it costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from analysis.cores import over_cores
from analysis.curvature.affine_norm import with_affine_norms
from analysis.curvature.fisher import sampled_labels
from analysis.curvature.gradients import predictions
from analysis.model_under_test import blocks_of, exact_float32, frozen_copy
from ngf.environment import wide


class CurvatureOperator:
    """A symmetric matrix over some parameters of a model, which is copied and never changed.

    Arguments:
        model: what `frozen_copy` takes.
        images: float (N, C, H, W) in [0, 1].
        labels: int64 (N,).
        names: of the parameters, in the order of the vectors; None for all in the model's order.
        chunk: images in one backward pass.
        cache_bytes: for kept graphs; None for 1 GiB, on a GPU half of what is free.

    Attributes:
        size: number of parameters, and of rows.
        dtype, device: of the vectors.
        blocks: parameter name -> its slice of the vectors.
        parameters: the parameters as one vector (size,).
        num_halvings: how many times memory ran out; `chunk` and `cache_bytes` are what is left.
        note: what running out of memory has changed.

    Raises ValueError for unknown names and for the reasons of `frozen_copy`. A product raises
    MemoryError when a single image does not fit.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        names: Iterable[str] | None = None,
        chunk: int = 64,
        cache_bytes: int | None = None,
    ) -> None:
        if chunk < 1:
            raise ValueError(f"chunk = {chunk} is out of range. Allowed: 1 or more.")
        self._model = with_affine_norms(frozen_copy(model, images, labels))
        known = dict(self._model.named_parameters())
        chosen = list(known if names is None else dict.fromkeys(names))
        unknown = [name for name in chosen if name not in known]
        if unknown or not chosen:
            raise ValueError(
                f"Unknown parameters {', '.join(unknown) or '(none given)'}. "
                f"Allowed: {', '.join(known)}."
            )
        self._parameters = [known[name].requires_grad_() for name in chosen]
        self.blocks = blocks_of({name: known[name].numel() for name in chosen})
        self.size = sum(p.numel() for p in self._parameters)
        self.dtype, self.device = self._parameters[0].dtype, self._parameters[0].device
        self.num_images = len(images)
        self._images, self._labels = images, labels
        self.chunk = min(chunk, len(images))
        self.cache_bytes = _default_budget(self.device) if cache_bytes is None else cache_bytes
        self.num_halvings = 0
        self._num_cached: int | None = None
        self._graph_bytes = 1  # of one chunk
        self._graphs: dict[int, Any] = {}

    @property
    def parameters(self) -> Tensor:
        return torch.cat([p.detach().reshape(-1) for p in self._parameters])

    @property
    def note(self) -> str | None:
        """What running out of memory has changed; None if it did not happen."""
        if not self.num_halvings:
            return None
        times = "once" if self.num_halvings == 1 else f"{self.num_halvings} times"
        return (
            f"Memory ran out {times}: graphs are kept up to {self.cache_bytes / 2**20:.0f} MiB, in "
            f"chunks of {self.chunk} images. Products are slower; the numbers are the same."
        )

    def __matmul__(self, vector: Tensor) -> Tensor:
        """The product with a vector (size,): summed over chunks in float64, returned in `dtype`."""
        if vector.shape != (self.size,):
            raise ValueError(
                f"The vector has shape {tuple(vector.shape)}, the operator needs ({self.size},)."
            )
        pieces = vector.to(self.device, self.dtype).split([p.numel() for p in self._parameters])
        pieces = [piece.view_as(p) for piece, p in zip(pieces, self._parameters, strict=True)]
        while True:
            try:
                return self._multiply(pieces)
            except (MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                if not self._give_way():
                    raise MemoryError(
                        "A single image does not fit in memory. Measure fewer layers, a smaller "
                        f"model, or where there is more memory. ({error})"
                    ) from error
            # Here and not in the handler, where the error still holds the tensors of the product.
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _multiply(self, pieces: list[Tensor]) -> Tensor:
        total = torch.zeros(self.size, dtype=wide(self.device), device=self.device)
        with exact_float32():
            if self._num_cached is None:
                self._num_cached = self._how_many_fit()
            indices = range(-(-self.num_images // self.chunk))
            product_of = partial(self._product_of, pieces)
            if len(indices) == 1:  # its operations share the cores
                products: Iterable[Tensor] = map(product_of, indices)
            else:
                products = over_cores(product_of, indices, self.device)
            for product in products:
                total += product
        return (total / self.num_images).to(self.dtype)

    def _product_of(self, pieces: list[Tensor], index: int) -> Tensor:
        """The product for a chunk, summed over its images: (size,)."""
        product = self._product(self._graph_of(index), pieces)
        return torch.cat([part.reshape(-1) for part in product])

    def _give_way(self) -> bool:
        """Use less memory from now on; False if no less is possible."""
        self._graphs.clear()
        if self._num_cached:
            # Most of the budget may be unused: what is halved is what the graphs would take.
            self.cache_bytes = min(self.cache_bytes, self._num_cached * self._graph_bytes) // 2
            self._num_cached = self.cache_bytes // self._graph_bytes
        elif self.chunk > 1:
            self.chunk //= 2
            self._num_cached = None
        else:
            return False
        self.num_halvings += 1
        return True

    def _graph_of(self, index: int) -> Any:
        if index in self._graphs:
            return self._graphs[index]
        where = slice(index * self.chunk, (index + 1) * self.chunk)
        graph = self._graph(self._images[where], self._labels[where])
        assert self._num_cached is not None
        if index < self._num_cached:
            self._graphs[index] = graph
        return graph

    def _how_many_fit(self) -> int:
        """Number of chunks whose graphs fit the budget, told from the graph of a few images."""
        few = self._images[: min(4, self.chunk)], self._labels[: min(4, self.chunk)]
        known = {p.untyped_storage().data_ptr() for p in self._model.parameters()}
        # The storages are held, so that no address comes twice.
        kept: dict[int, torch.UntypedStorage] = {}

        def count(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in known:
                kept[storage.data_ptr()] = storage
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            graph = self._graph(*few)
        per_image = sum(storage.nbytes() for storage in kept.values()) / len(few[0])
        del graph
        self._graph_bytes = max(1, int(per_image * self.chunk))
        return min(self.cache_bytes // self._graph_bytes, -(-self.num_images // self.chunk))

    def _graph(self, images: Tensor, labels: Tensor) -> Any:
        """What can be kept of a chunk between products."""
        raise NotImplementedError

    def _product(self, graph: Any, vector: list[Tensor]) -> list[Tensor]:
        """The product for a chunk, summed over its images, shaped like the parameters."""
        raise NotImplementedError


def _pull_back(
    outputs: Iterable[Tensor], weights: Iterable[Tensor], inputs: Sequence[Tensor]
) -> list[Tensor]:
    """The weighted sum of d output / d input, to which constant outputs add nothing."""
    pairs = [(out, w) for out, w in zip(outputs, weights, strict=True) if out.requires_grad]
    if not pairs:
        return [torch.zeros_like(x) for x in inputs]
    outs, ws = zip(*pairs, strict=True)
    return list(
        torch.autograd.grad(
            outs, inputs, ws, retain_graph=True, allow_unused=True, materialize_grads=True
        )
    )


class Hessian(CurvatureOperator):
    """Second derivatives of the mean cross-entropy.

    For one linear layer they have a closed form, 1/n sum_i (diag p_i - p_i p_i^T) (x) x_i x_i^T:

        >>> x, y = torch.rand(5, 3, dtype=torch.float64), torch.tensor([0, 1, 3, 3, 2])
        >>> model = nn.Linear(3, 4, bias=False, dtype=torch.float64)
        >>> p = model(x).softmax(1)
        >>> closed_form = sum(
        ...     torch.kron(torch.diag(q) - torch.outer(q, q), torch.outer(h, h))
        ...     for q, h in zip(p, x)
        ... ) / 5
        >>> v = torch.rand(12, dtype=torch.float64)
        >>> torch.allclose(Hessian(model, x, y) @ v, closed_form @ v)
        True
    """

    def _graph(self, images: Tensor, labels: Tensor) -> list[Tensor]:
        loss = F.cross_entropy(self._model(images), labels, reduction="sum")
        if not loss.requires_grad:  # it depends on none of the parameters
            return [torch.zeros_like(p) for p in self._parameters]
        return list(
            torch.autograd.grad(
                loss, self._parameters, create_graph=True, allow_unused=True, materialize_grads=True
            )
        )

    def _product(self, gradient: list[Tensor], vector: list[Tensor]) -> list[Tensor]:
        return _pull_back(gradient, vector, self._parameters)


class _Linearized(NamedTuple):
    """What a `JacobianOperator` keeps of a chunk.

    logits: (n, C).
    dual: u (n, C), zero.
    pulled: J^T u as a function of u, shaped like the parameters.
    factor: what M_i is made of.
    """

    logits: Tensor
    dual: Tensor
    pulled: list[Tensor]
    factor: Tensor


class JacobianOperator(CurvatureOperator):
    """1/n sum_i J_i^T M_i J_i with M_i (C, C) symmetric and positive semidefinite, given by
    `_factor` and `_weigh`.
    """

    def _graph(self, images: Tensor, labels: Tensor) -> _Linearized:
        logits = self._model(images)  # (n, C)
        factor = self._factor(logits.detach().softmax(1), labels)
        if not logits.requires_grad:  # they depend on none of the parameters
            nothing = [torch.zeros_like(p) for p in self._parameters]
            return _Linearized(logits, logits, nothing, factor)
        dual = torch.zeros_like(logits, requires_grad=True)
        # J^T u is linear in u, so its derivative along v is J v: a forward product by two reverse
        # ones.
        pulled = torch.autograd.grad(
            logits,
            self._parameters,
            dual,
            create_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        return _Linearized(logits, dual, list(pulled), factor)

    def _product(self, graph: _Linearized, vector: list[Tensor]) -> list[Tensor]:
        logits, dual, pulled, factor = graph
        (pushed,) = _pull_back(pulled, vector, [dual])  # J v: (n, C)
        return _pull_back([logits], [self._weigh(factor, pushed)], self._parameters)

    def _factor(self, p: Tensor, labels: Tensor) -> Tensor:
        """What M_i is made of, from probabilities (n, C) and the labels of the chunk."""
        raise NotImplementedError

    def _weigh(self, factor: Tensor, pushed: Tensor) -> Tensor:
        """M_i u_i for each row of `pushed` (n, C)."""
        raise NotImplementedError


class GaussNewton(JacobianOperator):
    """The Gauss-Newton matrix, which is the true Fisher matrix of a softmax classifier."""

    def _factor(self, p: Tensor, labels: Tensor) -> Tensor:
        return p

    def _weigh(self, factor: Tensor, pushed: Tensor) -> Tensor:
        return factor * pushed - factor * (factor * pushed).sum(1, keepdim=True)


class EmpiricalFisher(JacobianOperator):
    """Mean of g g^T with the labels of the data: no Fisher matrix, though often called one."""

    def _factor(self, p: Tensor, labels: Tensor) -> Tensor:
        return p[:, None] - F.one_hot(labels.reshape(len(p), -1), p.shape[1])  # (n, draws, C)

    def _weigh(self, factor: Tensor, pushed: Tensor) -> Tensor:
        return torch.einsum("ndc,ndk,nk->nc", factor, factor, pushed) / factor.shape[1]


class SampledFisher(EmpiricalFisher):
    """The true Fisher matrix, with the expectation over labels replaced by `draws` labels per
    image.

    The labels are drawn once, so this is one fixed matrix, the same for any chunk size.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        generator: Generator,
        draws: int = 1,
        names: Iterable[str] | None = None,
        chunk: int = 64,
        cache_bytes: int | None = None,
    ) -> None:
        if draws < 1:
            raise ValueError(f"draws = {draws} is out of range. Allowed: 1 or more.")
        super().__init__(model, images, labels, names=names, chunk=chunk, cache_bytes=cache_bytes)
        p = predictions(self._model, images).softmax(1)
        self._labels = sampled_labels(p, draws, generator)


class Scaled:
    """D C D for an operator C and a diagonal D, given as a vector (size,)."""

    def __init__(self, operator: CurvatureOperator, diagonal: Tensor) -> None:
        if diagonal.shape != (operator.size,):
            raise ValueError(
                f"The diagonal has shape {tuple(diagonal.shape)}, the operator needs "
                f"({operator.size},)."
            )
        self._operator, self._diagonal = operator, diagonal.to(operator.device, operator.dtype)
        self.size, self.dtype, self.device = operator.size, operator.dtype, operator.device
        self.blocks = operator.blocks

    def __matmul__(self, vector: Tensor) -> Tensor:
        """The product with a vector (size,)."""
        scaled = vector.to(self._diagonal) * self._diagonal
        return self._diagonal * (self._operator @ scaled)


def fisher_rao_norm(
    model: nn.Module, images: Tensor, labels: Tensor, names: Iterable[str]
) -> float:
    """theta^T F theta, the squared Fisher-Rao norm of the parameters `names`."""
    # One product: no graph is worth keeping.
    fisher = GaussNewton(model, images, labels, names=names, cache_bytes=0)
    theta = fisher.parameters
    product = fisher @ theta
    return float(theta.to(product) @ product)


def _default_budget(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else 2**30


def _is_out_of_memory(error: BaseException) -> bool:
    """On a CPU torch raises a plain RuntimeError, and so does oneDNN, which runs its convolutions
    (both seen).
    """
    return (
        isinstance(error, (MemoryError, torch.OutOfMemoryError))
        or "can't allocate memory" in str(error)
        or "could not create a primitive" in str(error)
    )
