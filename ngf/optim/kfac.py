"""K-FAC (Martens & Grosse 2015, arXiv 1503.05671; convolutions: Grosse & Martens 2016, arXiv
1602.01407).

The Fisher of one layer is approximated by a Kronecker product F ~ G (x) A: A is the second moment
of the layer's inputs (for a convolution: of its patches), G that of the gradients of log p(y|x)
with respect to its outputs, with y drawn from the model: the *true* Fisher. It is exact for a
linear layer when inputs and output gradients are independent, and for one image.

A layer that shares its weights over positions (pixels of a convolution, tokens of a linear layer)
has two such products (Eschenhagen et al. 2023, arXiv 2311.00636), with a the inputs and g the
output gradients of T positions:

    expand    A = sum over t of a_t a_t^T, G = mean over t of g_t g_t^T
    reduce    A = (mean over t of a_t) (the same)^T, G = (sum over t of g_t) (the same)^T

`expand` is exact for a linear network with a loss for each position, `reduce` for one with a loss
of their mean.

A grouped convolution is G convolutions that share no weight, each with factors of its own, and a
LayerNorm is one scalar map y = w x + b for each channel of its normalized input; what they have
across groups is left out, as is what the layers have across each other. Their rows and factors have
a leading dimension G.

Where positions share weights neither product has the size of the Fisher: `expand` leaves out what
positions have across each other, which for a trained convolution is nearly all of v^T F v. So each
layer has a scale c, F ~ c G (x) A, from one exact product: (v^T F v) / (v^T (G (x) A) v) for the
natural gradient v of that layer, see `rescale`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ngf.finite import OUTPUTS, Diverged
from ngf.models import Flow, Layer, Tuned
from ngf.optim.natural_gradient import KroneckerInverse

SHARING = ("expand", "reduce")
_NUMBERS = 2**26  # in the gradients of several images that are held at once


def weight_matrix(weight: Tensor, bias: Tensor | None) -> Tensor:
    """Weights (or their gradients) of a layer as one matrix (out, in [+ 1 for the bias]);
    norms: (C, 2).
    """
    matrix = weight.reshape(len(weight), -1)
    return matrix if bias is None else torch.cat([matrix, bias[:, None]], 1)


def split_matrix(layer: Tuned, matrix: Tensor) -> list[Tensor]:
    """The inverse of `weight_matrix`: [weight] or [weight, bias] in their own shapes."""
    if layer.bias is None:
        return [matrix.view_as(layer.weight)]
    return [matrix[:, :-1].reshape(layer.weight.shape), matrix[:, -1]]


def num_groups(layer: Layer) -> int:
    """Parts of a layer that share neither inputs nor weights: groups of a convolution,
    channels of a LayerNorm.
    """
    if isinstance(layer, nn.LayerNorm):
        return layer.weight.numel()
    return layer.groups if isinstance(layer, nn.Conv2d) else 1


def input_rows(layer: Layer, inputs: Tensor) -> Tensor:
    """What the layer's weight matrix multiplies: (N, T, in [+ 1]), T positions (1 for a Linear
    without tokens).

    With groups: (G, N, T, in of one group [+ 1]).
    """
    if isinstance(layer, nn.Conv2d):
        assert not isinstance(layer.padding, str)  # see `check_layer`
        rows = F.unfold(
            inputs, layer.kernel_size, layer.dilation, layer.padding, layer.stride
        ).transpose(1, 2)
    elif isinstance(layer, nn.LayerNorm):
        rows = _tokens(F.layer_norm(inputs, layer.normalized_shape, eps=layer.eps))
    else:
        rows = _tokens(inputs)
    rows = _by_group(layer, rows)
    if layer.bias is not None:
        rows = torch.cat([rows, rows.new_ones(*rows.shape[:-1], 1)], -1)
    return rows


def output_rows(layer: Layer, gradients: Tensor) -> Tensor:
    """Gradients of the layer's outputs: (N, T, out), with groups (G, N, T, out of one group)."""
    if isinstance(layer, nn.Conv2d):
        return _by_group(layer, gradients.flatten(2).transpose(1, 2))
    return _by_group(layer, _tokens(gradients))


def _tokens(values: Tensor) -> Tensor:
    return values.reshape(len(values), -1, values.shape[-1])


def _by_group(layer: Layer, rows: Tensor) -> Tensor:
    """(N, T, G * width) -> (G, N, T, width); as it is where there are no groups."""
    groups = num_groups(layer)
    return rows if groups == 1 else rows.unflatten(2, (groups, -1)).movedim(2, 0)


def image_gradients(g: Tensor, a: Tensor) -> Tensor:
    """Gradient of each image, sum over positions of g a^T, as a matrix: (N, out, in [+ 1]).
    g, a: rows of a layer.
    """
    return torch.einsum("...nto,...nti->n...oi", g, a).flatten(1, -2)


def image_norms(g: Tensor, a: Tensor) -> Tensor:
    """Squared length (N,) of each image's gradient: sum over positions t, s of (g_t.g_s)(a_t.a_s),
    or of the squares of the gradient itself where that is smaller.
    """
    if g.shape[-2] ** 2 < g.shape[-1] * a.shape[-1]:
        products = ((g @ g.mT) * (a @ a.mT)).sum((-2, -1))
        return products if products.ndim == 1 else products.sum(0)
    return image_gradients(g, a).square().sum((1, 2))


def why_not(layer: Layer) -> str:
    """Why `input_rows` cannot tell the inputs of a layer; "" where it can."""
    if isinstance(layer, nn.Conv2d) and (
        layer.padding_mode != "zeros" or isinstance(layer.padding, str)
    ):
        return (
            f"it pads its images by {layer.padding_mode!r}, {layer.padding!r}; K-FAC cuts out the "
            "patches of a convolution padded with a number of zeros"
        )
    if isinstance(layer, nn.LayerNorm) and (layer.weight is None or layer.weight.ndim != 1):
        return (
            "it normalizes over several dimensions at once, or has no weights; K-FAC treats a "
            "LayerNorm over channels"
        )
    return ""


def check_layer(name: str, layer: Layer) -> None:
    """Raise ValueError for a layer whose inputs `input_rows` cannot tell."""
    if reason := why_not(layer):
        raise ValueError(f"{name} cannot be tuned: {reason}. Choose another layer.")


def with_factors(found: Flow) -> tuple[dict[str, Layer], dict[str, str]]:
    """The layers whose Fisher information can be taken, and why the others of a model cannot."""
    reasons = {
        name: "its input or output is overwritten by a later operation"
        if name in found.overwritten
        else why_not(layer)
        for name, layer in found.layers.items()
    }
    layers = {name: layer for name, layer in found.layers.items() if not reasons[name]}
    return layers, {name: reason for name, reason in reasons.items() if reason}


class Tap:
    """Keeps what flows in and out of some layers during a forward pass, while used as a context.

    Raises ValueError if a layer is used twice in it: then it has no single input.
    """

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        self.layers = layers
        self.inputs: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}
        self._versions: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> Tap:
        self._hooks = [
            layer.register_forward_hook(self._keep(name)) for name, layer in self.layers.items()
        ]
        return self

    def _keep(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if name in self.inputs:
                raise ValueError(
                    f"{name} is used twice in a forward pass; K-FAC needs layers that are used "
                    "once."
                )
            self.inputs[name], self.outputs[name] = inputs[0].detach(), output
            self._versions[name] = inputs[0]._version, output._version

        return hook

    def __exit__(self, *_error: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def check(self) -> None:
        """Raise ValueError if something was overwritten since: gradients would be those of
        other values.
        """
        for name, versions in self._versions.items():
            if versions != (self.inputs[name]._version, self.outputs[name]._version):
                raise ValueError(
                    f"The input or output of {name} is overwritten by a later operation. Make the "
                    "activations of the network work out of place (inplace=False)."
                )


def sample_labels(logits: Tensor, rng: torch.Generator) -> Tensor:
    """Labels drawn from the model's own prediction (never the data's): what makes the Fisher
    the true one. Raises Diverged for outputs that are not finite.
    """
    p = logits.detach().float().softmax(1).cpu()
    if not bool(torch.isfinite(p).all()):
        raise Diverged(OUTPUTS)
    return torch.multinomial(p, 1, generator=rng)[:, 0].to(logits.device)


def sampled_output_gradients(tap: Tap, logits: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
    """Gradients of -log p(y|x), y sampled, at the tapped layers' outputs, image by image."""
    tap.check()
    loss = F.cross_entropy(logits, sample_labels(logits, rng), reduction="sum")
    names = list(tap.outputs)
    found = torch.autograd.grad(loss, [tap.outputs[name] for name in names], retain_graph=True)
    return dict(zip(names, found, strict=True))


def exact_form(logits: Tensor, moved: Tensor, length: float) -> float:
    """v^T F v for the Fisher of a whole batch, exact but for the finite difference.

    logits: (N, C) at the weights.
    moved: (N, C) at the weights + length * v, or - length * v; the length is small.

    With J the Jacobian of the logits F is the mean of J^T (diag p - p p^T) J, labels summed out: so
    v^T F v is the mean over images of the variance of J v = (moved - logits) / length under p.
    """
    p = logits.double().softmax(1)
    change = (moved.double() - logits.double()) / length
    mean = (p * change).sum(1, keepdim=True)
    return (p * (change - mean).square()).sum(1).mean().item()


class KFAC:
    """Running Kronecker factors of some layers, and the natural gradient they give.

    Call `update` with the tap and the gradients of a forward pass, `invert`, then `rescale` if the
    size of the form matters, then `precondition`. Raises ValueError for the reasons of
    `check_layer`.

    decay: weight of the past at each update of the factors and scales. The averages are corrected
        for their short past (as in Adam), so that the first batch is forgotten like any other: of n
        updates it has the share (1 - decay) decay^(n - 1) / (1 - decay^n).
    sharing: what becomes of positions, one of `SHARING`.
    damping: may be changed at any time.
    scales: c of each layer; 1 until it is measured.
    """

    def __init__(
        self,
        layers: Mapping[str, Layer],
        *,
        damping: float,
        decay: float = 0.8,
        sharing: str = "expand",
    ) -> None:
        for name, layer in layers.items():
            check_layer(name, layer)
        if sharing not in SHARING:
            raise ValueError(f"sharing = {sharing!r} is not known. Allowed: {', '.join(SHARING)}.")
        self.layers, self.damping, self.decay, self.sharing = layers, damping, decay, sharing
        self.inputs: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}
        self.inverses: dict[str, KroneckerInverse] = {}
        self.scales: dict[str, float] = dict.fromkeys(layers, 1.0)
        self._past = self._scaled = 0.0  # weights of what the averages hold

    @torch.no_grad()
    def update(self, tap: Tap, gradients: Mapping[str, Tensor]) -> None:
        """Fold one batch into the factors. gradients: those of `sampled_output_gradients`."""
        self._past = self.decay * self._past + 1
        for name, layer in self.layers.items():
            a, g = input_rows(layer, tap.inputs[name]), output_rows(layer, gradients[name])
            count, positions = a.shape[-3:-1]
            if self.sharing == "reduce":
                a, g, positions = a.mean(-2), g.sum(-2), 1
            else:
                a, g = a.flatten(-3, -2), g.flatten(-3, -2)
            fresh = (a.mT @ a / count, g.mT @ g / (count * positions))
            for factors, new in zip((self.inputs, self.outputs), fresh, strict=True):
                old = factors.get(name)
                factors[name] = new if old is None else old + (new - old) / self._past

    def invert(self) -> None:
        """Take the eigenbases anew; the costly part, so not done in every step."""
        for name in self.layers:
            self.inverses[name] = KroneckerInverse.of(
                self.outputs[name], self.inputs[name], self.damping
            )

    def rescale(self, exact: Mapping[str, tuple[Tensor, float]]) -> None:
        """Fold what was found along one direction of each layer into its scale.

        exact: by layer a direction v (out, in [+ 1]) and v^T F v of that layer alone, as
            `exact_form` has it. The mean is geometric, for ratios differ by factors.
        """
        self._scaled = self.decay * self._scaled + 1
        for name, (direction, form) in exact.items():
            own = self._form(name, direction).item()
            if own > 0 and form > 0:  # else there is no curvature along it to compare
                old = 0.0 if self._scaled == 1 else math.log(self.scales[name])
                ratio = math.log(form / own)
                self.scales[name] = math.exp(old + (ratio - old) / self._scaled)

    def precondition(self, name: str, gradient: Tensor) -> Tensor:
        """(c F + damping I)^-1 gradient, for a gradient in matrix form (out, in [+ 1])."""
        inverse = self.inverses[name]
        scaled = replace(inverse, values=self.scales[name] * inverse.values, damping=self.damping)
        return (scaled @ self._parts(name, gradient)).reshape(gradient.shape)

    def _parts(self, name: str, matrix: Tensor) -> Tensor:
        """(out, in [+ 1]) -> (G, out of one group, in [+ 1]); as it is where there are no
        groups.
        """
        groups = num_groups(self.layers[name])
        return matrix if groups == 1 else matrix.unflatten(0, (groups, -1))

    def quadratic_form(self, name: str, direction: Tensor) -> Tensor:
        """v^T F v with c times the Kronecker F, for v (out, in [+ 1]): twice the KL of a small
        step v.
        """
        return self.scales[name] * self._form(name, direction)

    def _form(self, name: str, direction: Tensor) -> Tensor:
        v = self._parts(name, direction)
        return (v * (self.outputs[name] @ v @ self.inputs[name])).sum()

    def state_dict(self) -> dict[str, Any]:
        """Factors, eigenbases and scales, so that a resumed run is the undisturbed one to the last
        bit.
        """
        layers = {}
        for name in self.inputs:
            inverse = self.inverses[name]
            layers[name] = [
                self.inputs[name],
                self.outputs[name],
                inverse.output_basis,
                inverse.input_basis,
                inverse.values,
            ]
        return {
            "layers": layers,
            "scales": dict(self.scales),
            "weights": [self._past, self._scaled],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, (inputs, outputs, output_basis, input_basis, values) in state["layers"].items():
            self.inputs[name], self.outputs[name] = inputs, outputs
            self.inverses[name] = KroneckerInverse(output_basis, input_basis, values, self.damping)
        self.scales = dict(state["scales"])
        self._past, self._scaled = state["weights"]


def diagonal_fisher(
    model: nn.Module,
    layers: Mapping[str, Layer],
    images: Tensor,
    rng: torch.Generator,
    draws: int = 4,
    chunk: int = 64,
) -> dict[str, Tensor]:
    """diag F of each layer as a matrix (out, in [+ 1]), labels sampled `draws` times; exact per
    image.

    The gradient of one image is sum over positions of g a^T; its square is averaged over images and
    draws.
    """
    total: dict[str, Tensor] = {}
    for part in images.split(chunk):
        with Tap(layers) as tap:
            logits = model(part)
        for _ in range(draws):
            for name, gradient in sampled_output_gradients(tap, logits, rng).items():
                g, a = (
                    output_rows(layers[name], gradient),
                    input_rows(layers[name], tap.inputs[name]),
                )
                few = max(1, _NUMBERS // (g.shape[:-3].numel() * g.shape[-1] * a.shape[-1]))
                for some_g, some_a in zip(g.split(few, -3), a.split(few, -3), strict=True):
                    squares = image_gradients(some_g, some_a).square_().sum(0)
                    total[name] = total[name] + squares if name in total else squares
    return {name: value / (draws * len(images)) for name, value in total.items()}
