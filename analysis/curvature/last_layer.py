"""The last linear layer of a classifier, whose curvature has a closed form.

With features h, weights W (C, D) and p = softmax(W h + b), the Hessian, the Gauss-Newton and the
Fisher matrix of (W, b) are one, label-free matrix (see `ngf.optim.natural_gradient`). It needs one
forward pass and no derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from analysis.model_under_test import FORWARD_CHUNK, blocks_of, exact_float32, frozen_copy
from ngf.environment import wide
from ngf.optim.natural_gradient import SoftmaxFisher, with_ones


@dataclass(frozen=True, kw_only=True)
class LastLayer:
    """The last layer on a fixed set of images.

    name: of the layer.
    features: (N, D), its input.
    probabilities: (N, C), of the model.
    weight: (C, D).
    bias: whether it has one.

    Tensors are float64 where the device has it: sums over images are then exact enough for any
    number of them.
    """

    name: str
    features: Tensor
    probabilities: Tensor
    weight: Tensor
    bias: bool

    @classmethod
    @torch.no_grad()
    def of(cls, model: nn.Module, images: Tensor) -> LastLayer | None:
        """The layer whose output is what the model gives back; None if that is not a linear layer.

        model: in eval mode.
        images: float (N, C, H, W) in [0, 1].
        """
        seen: list[tuple[str, Tensor, Tensor]] = []

        def remember(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
            return lambda module, inputs, output: seen.append((name, inputs[0], output))

        linear = {
            name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)
        }
        handles = [module.register_forward_hook(remember(name)) for name, module in linear.items()]
        dtype = wide(images)
        features, logits = [], []
        try:
            for x in images.split(FORWARD_CHUNK):
                seen.clear()
                with exact_float32():
                    out = model(x)
                found = [(name, entering) for name, entering, output in seen if output is out]
                if not found or found[0][1].ndim != 2:
                    return None
                name, entering = found[0]
                features.append(entering.to(dtype))
                logits.append(out.to(dtype))
        finally:
            for handle in handles:
                handle.remove()
        module = linear[name]
        return cls(
            name=name,
            features=torch.cat(features),
            probabilities=torch.cat(logits).softmax(1),
            weight=module.weight.detach().to(dtype),
            bias=module.bias is not None,
        )

    def fisher(self) -> SoftmaxFisher:
        """The matrix of (W, b), or of W without a bias, as an operator on (C, D + 1) or (C, D)."""
        return SoftmaxFisher(
            with_ones(self.features) if self.bias else self.features, self.probabilities
        )

    def relative_flatness(self) -> float:
        """sum over classes s, t of <w_s, w_t> Tr H_st (Petzka et al. 2021, arXiv 2001.00939), with
        H the Hessian of W alone.

        Here it is 1/n sum |h|^2 (sum_c p_c |w_c|^2 - |sum_c p_c w_c|^2), where the bracket is the
        variance of the rows of W under p.
        """
        mean = self.probabilities @ self.weight
        spread = self.probabilities @ self.weight.square().sum(1) - mean.square().sum(1)
        return float((self.features.square().sum(1) * spread).mean())


class LastLayerFisher:
    """The exact Fisher (and Hessian, and Gauss-Newton) matrix of the last linear layer, from
    features that are computed once.

    model, images, labels: as for the other operators.
    names: its weight, its bias, or both (the default).

    Raises ValueError if the model does not end in a linear layer, or `names` has anything else.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        names: Iterable[str] | None = None,
    ) -> None:
        frozen = frozen_copy(model, images, labels)
        last = LastLayer.of(frozen, images)
        if last is None:
            raise ValueError(
                "The model does not end in a linear layer, so its last layer has no closed form. "
                "Use GaussNewton."
            )
        own = {f"{last.name}.weight" if last.name else "weight": last.weight.shape[1]}
        if last.bias:
            own[f"{last.name}.bias" if last.name else "bias"] = 1
        chosen = list(own if names is None else dict.fromkeys(names))
        if not chosen or any(name not in own for name in chosen):
            raise ValueError(
                f"The last layer has no parameters {', '.join(chosen) or '(none given)'}. "
                f"Allowed: {', '.join(own)}."
            )
        parameter = dict(frozen.named_parameters())[chosen[0]]
        classes = len(last.weight)
        self._fisher = last.fisher()
        self._widths = own
        sizes = {name: classes * own[name] for name in chosen}
        self.blocks, self.size = blocks_of(sizes), sum(sizes.values())
        self.dtype, self.device = parameter.dtype, parameter.device

    def __matmul__(self, vector: Tensor) -> Tensor:
        """The product with a vector (size,)."""
        if vector.shape != (self.size,):
            raise ValueError(
                f"The vector has shape {tuple(vector.shape)}, the operator needs ({self.size},)."
            )
        vector = vector.to(self._fisher.features)
        classes = self._fisher.p.shape[1]
        columns = [
            vector[self.blocks[name]].view(classes, width)
            if name in self.blocks
            else vector.new_zeros(classes, width)
            for name, width in self._widths.items()
        ]
        with exact_float32():
            return self._flat(self._fisher @ torch.cat(columns, 1))

    def diagonal(self) -> Tensor:
        """Of the matrix: (size,)."""
        return self._flat(self._fisher.diagonal())

    def trace(self) -> float:
        return float(self.diagonal().sum())

    def _flat(self, matrix: Tensor) -> Tensor:
        parts = dict(zip(self._widths, matrix.split(list(self._widths.values()), 1), strict=True))
        return torch.cat([parts[name].reshape(-1) for name in self.blocks]).to(self.dtype)
