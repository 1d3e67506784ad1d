"""K-FAC (Martens & Grosse 2015, arXiv 1503.05671; convolutions: Grosse & Martens 2016, arXiv 1602.01407).

The Fisher of one layer is approximated by a Kronecker product F ~ G (x) A: A is the second moment of the
layer's inputs (for a convolution: of its patches, summed over positions), G that of the gradients of
log p(y|x) with respect to its outputs (mean over positions), with y drawn from the model: the *true* Fisher.
It is exact for a linear layer when inputs and output gradients are independent, and for one image.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ngf.optim.natural_gradient import KroneckerInverse, with_ones


def weight_matrix(weight: Tensor, bias: Tensor | None) -> Tensor:
    """Weights (or their gradients) of a layer as one matrix (out, in [+ 1 for the bias]); BatchNorm: (C, 2)."""
    matrix = weight.reshape(len(weight), -1)
    return matrix if bias is None else torch.cat([matrix, bias[:, None]], 1)


def split_matrix(layer: nn.Module, matrix: Tensor) -> list[Tensor]:
    """The inverse of `weight_matrix`: [weight] or [weight, bias] in their own shapes."""
    if layer.bias is None:
        return [matrix.view_as(layer.weight)]
    return [matrix[:, :-1].reshape(layer.weight.shape), matrix[:, -1]]


def input_rows(layer: nn.Module, inputs: Tensor) -> Tensor:
    """What the layer's weight matrix multiplies: (N, T, in [+ 1]), T positions (1 for a Linear)."""
    if isinstance(layer, nn.Conv2d):
        rows = F.unfold(inputs, layer.kernel_size, layer.dilation, layer.padding, layer.stride).transpose(1, 2)
    else:
        rows = inputs.reshape(len(inputs), -1, inputs.shape[-1])
    if layer.bias is not None:
        rows = torch.cat([rows, rows.new_ones(*rows.shape[:2], 1)], 2)
    return rows


def output_rows(layer: nn.Module, gradients: Tensor) -> Tensor:
    """Gradients of the layer's outputs: (N, T, out)."""
    if isinstance(layer, nn.Conv2d):
        return gradients.flatten(2).transpose(1, 2)
    return gradients.reshape(len(gradients), -1, gradients.shape[-1])


def check_layer(name: str, layer: nn.Module) -> None:
    """Raise ValueError for a layer whose Fisher has no single Kronecker product."""
    if isinstance(layer, nn.Conv2d) and layer.groups != 1:
        raise ValueError(f"{name} is a grouped convolution, which K-FAC does not cover yet; choose another layer.")


class Tap:
    """Keeps what flows in and out of some layers during a forward pass, while used as a context."""

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        self.layers, self.inputs, self.outputs = layers, {}, {}

    def __enter__(self) -> Tap:
        self._hooks = [layer.register_forward_hook(self._keep(name)) for name, layer in self.layers.items()]
        return self

    def _keep(self, name: str):
        def hook(_module, inputs, output) -> None:
            self.inputs[name], self.outputs[name] = inputs[0].detach(), output
        return hook

    def __exit__(self, *_error: object) -> None:
        for hook in self._hooks:
            hook.remove()


def sample_labels(logits: Tensor, rng: torch.Generator) -> Tensor:
    """Labels drawn from the model's own prediction (never the data's): what makes the Fisher the true one."""
    p = logits.detach().float().softmax(1).cpu()
    return torch.multinomial(p, 1, generator=rng)[:, 0].to(logits.device)


def sampled_output_gradients(tap: Tap, logits: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
    """Gradients of -log p(y|x), y sampled, at the tapped layers' outputs, image by image."""
    loss = F.cross_entropy(logits, sample_labels(logits, rng), reduction="sum")
    names = list(tap.outputs)
    found = torch.autograd.grad(loss, [tap.outputs[name] for name in names], retain_graph=True)
    return dict(zip(names, found, strict=True))


class KFAC:
    """Running Kronecker factors of some layers, and the natural gradient they give.

    ema: weight of the past at each update of the factors; their first value is the first estimate, not the
    identity. Call `update` with the tap and logits of a forward pass, then `precondition`.
    """

    def __init__(self, layers: Mapping[str, nn.Module], *, damping: float, ema: float = 0.95) -> None:
        for name, layer in layers.items():
            check_layer(name, layer)
        self.layers, self.damping, self.ema = layers, damping, ema
        self.inputs: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}
        self.inverses: dict[str, KroneckerInverse] = {}

    @torch.no_grad()
    def update(self, tap: Tap, gradients: Mapping[str, Tensor]) -> None:
        """Fold one batch into the factors. gradients: those of `sampled_output_gradients`."""
        for name, layer in self.layers.items():
            a, g = input_rows(layer, tap.inputs[name]), output_rows(layer, gradients[name])
            count, positions = a.shape[:2]
            a, g = a.flatten(0, 1), g.flatten(0, 1)
            fresh = (a.T @ a / count, g.T @ g / (count * positions))
            for factors, new in zip((self.inputs, self.outputs), fresh, strict=True):
                factors[name] = new if name not in factors else self.ema * factors[name] + (1 - self.ema) * new

    def invert(self) -> None:
        """Take the eigenbases anew; the costly part, so not done in every step."""
        for name in self.layers:
            self.inverses[name] = KroneckerInverse(self.outputs[name], self.inputs[name], self.damping)

    def precondition(self, name: str, gradient: Tensor) -> Tensor:
        """(F + damping I)^-1 gradient, for a gradient in matrix form (out, in [+ 1])."""
        return self.inverses[name] @ gradient

    def quadratic_form(self, name: str, direction: Tensor) -> Tensor:
        """v^T F v with the Kronecker F, for v (out, in [+ 1]): twice the KL of a small step v."""
        return (direction * (self.outputs[name] @ direction @ self.inputs[name])).sum()

    def state_dict(self) -> dict:
        """Factors and eigenbases, so that a resumed run is the undisturbed one to the last bit."""
        out = {}
        for name in self.inputs:
            inverse = self.inverses[name]
            out[name] = [self.inputs[name], self.outputs[name], inverse.output_basis, inverse.input_basis,
                         inverse.values]
        return out

    def load_state_dict(self, state: Mapping[str, list[Tensor]]) -> None:
        for name, (inputs, outputs, output_basis, input_basis, values) in state.items():
            self.inputs[name], self.outputs[name] = inputs, outputs
            inverse = KroneckerInverse.__new__(KroneckerInverse)
            inverse.output_basis, inverse.input_basis, inverse.values = output_basis, input_basis, values
            inverse.damping = self.damping
            self.inverses[name] = inverse


def diagonal_fisher(model: nn.Module, layers: Mapping[str, nn.Module], images: Tensor, rng: torch.Generator,
                    draws: int = 4, chunk: int = 64) -> dict[str, Tensor]:
    """diag F of each layer as a matrix (out, in [+ 1]), labels sampled `draws` times; exact per image.

    The gradient of one image is sum over positions of g a^T; its square is averaged over images and draws.
    """
    total = {name: 0.0 for name in layers}
    for part in images.split(chunk):
        with Tap(layers) as tap:
            logits = model(part)
        for _ in range(draws):
            for name, gradient in sampled_output_gradients(tap, logits, rng).items():
                g, a = output_rows(layers[name], gradient), input_rows(layers[name], tap.inputs[name])
                total[name] = total[name] + torch.einsum("nto,nti->noi", g, a).square_().sum(0)
    return {name: value / (draws * len(images)) for name, value in total.items()}


def last_layer_inputs(model: nn.Module, layer: nn.Module, images: Tensor) -> Tensor:
    """Features that reach a Linear layer, ones appended: (N, D + 1). No gradient."""
    with Tap({"layer": layer}) as tap, torch.no_grad():
        model(images)
    return with_ones(tap.inputs["layer"])
