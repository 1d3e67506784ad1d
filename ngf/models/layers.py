"""The layers of a network: which can be tuned, and which makes the logits, by what flows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ngf.options import SpecError

Layer = nn.Linear | nn.Conv2d | nn.LayerNorm  # what can be tuned alone
Tuned = Layer | _BatchNorm  # what is tuned when all layers are


def tunable_layers(model: nn.Module) -> dict[str, Layer]:
    """Every Linear, Conv2d and LayerNorm by its name in the model, in the order in which they were
    made; `flow` tells which of them can be tuned.

    BatchNorm is not among them: while it takes its statistics from a batch, the prediction for an
    image depends on the other images, and there is no Fisher information of one image that NGF
    could use.
    """
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.LayerNorm))
    }


def kind_of(layer: Layer) -> str:
    """A tunable layer in words: `convolution 3x3, 16 to 32`."""
    if isinstance(layer, nn.LayerNorm):
        return f"LayerNorm of {layer.weight.numel()} channels"
    if isinstance(layer, nn.Linear):
        return f"linear, {layer.in_features} to {layer.out_features}"
    size = "x".join(map(str, layer.kernel_size))
    if layer.groups == layer.in_channels > 1:
        return f"depthwise convolution {size} of {layer.out_channels} channels"
    groups = f" in {layer.groups} groups" if layer.groups > 1 else ""
    return f"convolution {size}, {layer.in_channels} to {layer.out_channels}{groups}"


@dataclass(frozen=True)
class Flow:
    """What a forward pass in eval mode tells of the layers of a model.

    usable: what can be tuned, BatchNorm with weights included, in the order of the module list.
    left_out: name -> why that layer cannot be tuned, a part of a sentence.
    overwritten: layers whose input or output a later operation overwrites; they can be tuned, but
        their Fisher information cannot be taken.
    last: the linear layer whose output is what the model gives back; "" where there is none.
    """

    usable: dict[str, Tuned]
    left_out: dict[str, str]
    overwritten: frozenset[str]
    last: str

    @property
    def layers(self) -> dict[str, Layer]:
        """What can be tuned alone."""
        return {
            name: layer for name, layer in self.usable.items() if not isinstance(layer, _BatchNorm)
        }


@dataclass(frozen=True)
class _Pass:
    """A layer in a forward pass: what entered and left it, and how often these were written by
    then.
    """

    name: str
    entering: Tensor
    leaving: Tensor
    written: tuple[int, int]

    def overwritten(self) -> bool:
        return self.written != (self.entering._version, self.leaving._version)

    def makes(self, logits: Tensor) -> bool:
        """Whether what left it are the logits themselves."""
        return (
            (self.leaving is logits or self.leaving is logits._base)
            and self.leaving.shape == logits.shape
            and self.entering.ndim == 2
            and not self.overwritten()
        )


def flow(model: nn.Module, images: Tensor) -> Flow:
    """Let some images through `model` and see which layers they pass.

    images: float (N, C, H, W) in [0, 1]; two are enough. The model is left as it was.
    """
    layers: dict[str, Tuned] = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, Tuned) and not (isinstance(module, _BatchNorm) and not module.affine)
    }
    with _listening(model) as passes, torch.enable_grad():
        logits = model(images)
    used, owners = Counter(seen.name for seen in passes), _owners(layers)
    reached = _leaves(logits)
    reasons = {
        name: _why_not(name, layer, used[name], reached, owners) for name, layer in layers.items()
    }
    return Flow(
        usable={name: layer for name, layer in layers.items() if not reasons[name]},
        left_out={name: reason for name, reason in reasons.items() if reason},
        overwritten=frozenset(seen.name for seen in passes if seen.overwritten()),
        last=next(
            (
                seen.name
                for seen in passes
                if isinstance(layers[seen.name], nn.Linear) and seen.makes(logits)
            ),
            "",
        ),
    )


@contextmanager
def _listening(model: nn.Module) -> Iterator[list[_Pass]]:
    """Every pass through a layer, in order; the model is in eval mode and asks for gradients
    meanwhile.
    """
    passes: list[_Pass] = []
    modes = {module: module.training for module in model.modules()}
    asks = {parameter: parameter.requires_grad for parameter in model.parameters()}

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda _module, inputs, output: passes.append(
            _Pass(name, inputs[0], output, (inputs[0]._version, output._version))
        )

    hooks = [
        module.register_forward_hook(keep(name))
        for name, module in model.named_modules()
        if isinstance(module, Tuned)
    ]
    try:
        model.eval().requires_grad_(True)
        yield passes
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
        for parameter, flag in asks.items():
            parameter.requires_grad_(flag)


def _leaves(logits: Tensor) -> set[int]:
    """Identities of the parameters that the logits depend on."""
    found, seen, waiting = set(), set(), [logits.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if (leaf := getattr(node, "variable", None)) is not None:
            found.add(id(leaf))
        waiting += [after for after, _ in node.next_functions]
    return found


def _owners(layers: dict[str, Tuned]) -> dict[int, list[str]]:
    """Identity of each weight -> the layers that have it."""
    owners: dict[int, list[str]] = {}
    for name, layer in layers.items():
        for parameter in layer.parameters(recurse=False):
            owners.setdefault(id(parameter), []).append(name)
    return owners


def _why_not(
    name: str, layer: Tuned, used: int, reached: set[int], owners: dict[int, list[str]]
) -> str:
    """Why a layer cannot be tuned; "" for one that can."""
    own = dict(layer.named_parameters(recurse=False))
    if "weight" not in own:
        computed = getattr(layer, "weight", None) is not None
        return "its weights are computed from others" if computed else "it has no weights"
    if isinstance(layer, nn.LayerNorm) and layer.weight.ndim != 1:
        return "it normalizes over several dimensions at once"
    if used != 1:
        times = {0: "is not used", 2: "is used twice"}.get(used, f"is used {used} times")
        return f"it {times} in a forward pass"
    others = {other for value in own.values() for other in owners[id(value)]} - {name}
    if others:
        return f"it shares its weights with {', '.join(sorted(others))}"
    if not all(id(value) in reached for value in own.values()):
        return "what it gives does not reach the output"
    return ""


def classifier(found: Flow) -> tuple[str, nn.Linear]:
    """The linear layer that makes the logits, by its name. Raises SpecError when there is none that
    can be tuned.
    """
    layer = found.usable.get(found.last)
    if not isinstance(layer, nn.Linear):
        raise SpecError(no_last_layer(found))
    return found.last, layer


def no_last_layer(found: Flow) -> str:
    """Why a model has no last layer to tune, in a sentence."""
    if found.last:
        return f"Layer {found.last!r} cannot be tuned: {found.left_out[found.last]}."
    return (
        "The outputs of this model are not those of one linear layer, so it has no last layer to "
        "tune; choose a layer by name."
    )
