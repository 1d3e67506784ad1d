"""Neurons that a patch can excite: where they are in a network, how much of what moves them lies
under the patch, and how strongly they are connected to what follows.

A neuron is a channel at a position of what enters a convolution, or a feature of a token that
enters a linear layer. It is looked for where those values are activations, which hardly fall below
zero, so that a mean of them says how excited it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from ngf.models import classifier, flow
from ngf.options import SpecError

COVERED = 0.99  # share from which on what moves a neuron lies under the patch
_LOWEST = -0.3  # no activation is lower: ReLU 0, GELU -0.17, SiLU -0.28
# Mean of a neuron on clean images, in units of its largest value there, below which it counts as
# silent: how often it is excited could then not be told from how seldom it fires.
_SILENT = 0.02


@dataclass(frozen=True)
class Neurons:
    """Some neurons of what enters `layer`.

    channels, positions: int64 (n,); positions count row by row, or token by token.
    share: of what moves them, how much lies under the patch: 1 where it covers all that they see.
    """

    layer: str
    channels: Tensor
    positions: Tensor
    share: float

    def of(self, entering: Tensor) -> Tensor:
        """Their values, (N, n), in what enters the layer."""
        return _by_position(entering)[:, self.channels, self.positions]


@dataclass(frozen=True)
class _Site:
    """What enters a layer, as clean images and others tell.

    weight: (C,), sum of |outgoing weight| of a channel.
    moved: (P,), mean square by which a random patch moves the values at a position.
    share: (P,), of that and of how far everything outside of the patch moves them.
    firing: bool (C, P), whether a neuron is not silent.
    lowest: smallest value.
    """

    weight: Tensor
    moved: Tensor
    share: Tensor
    firing: Tensor
    lowest: float

    @property
    def best(self) -> float:
        return self.share.max().item()

    def neurons(self, name: str, count: int) -> Neurons | None:
        """The `count` of largest weight where the patch moves most, then at the next position; None
        where fewer fire.
        """
        enough = COVERED if self.best >= COVERED else COVERED * self.best
        near = (self.share >= enough).nonzero()[:, 0]
        # Ties keep their order, so that every machine chooses the same neurons.
        places = near[self.moved[near].argsort(descending=True, stable=True)]
        channels = self.weight.argsort(descending=True, stable=True)
        found = [
            (c, p) for p in places.tolist() for c in channels.tolist() if bool(self.firing[c, p])
        ][:count]
        if len(found) < count:
            return None
        chosen, at = torch.tensor(found, device=self.share.device).T
        return Neurons(name, chosen, at, self.share[at].min().item())


@torch.no_grad()
def choose(
    model: nn.Module,
    images: Tensor,
    window: tuple[slice, slice],
    rng: Generator,
    *,
    count: int,
    layer: str = "auto",
) -> Neurons:
    """`count` neurons that a patch in `window` can excite.

    images: clean ones, float (N, C, H, W) in [0, 1].
    window: rows and columns of the patch.
    rng: on the CPU; draws random patches.
    layer: whose inputs are the neurons. `auto`: the last one, in the order of a forward pass and
        before pooling leaves one position, with neurons that see hardly anything but the patch; if
        there is none (patches that are small beside what a neuron sees), the one whose neurons see
        most of it. `last`: the classifier, whose features a patch hardly moves after pooling.

    Raises SpecError for a layer that is not there or has too few neurons that fire.
    """
    found = flow(model, images[:2])
    layers = {
        name: item for name, item in found.layers.items() if isinstance(item, nn.Conv2d | nn.Linear)
    }
    if layer == "last":
        layer = classifier(found)[0]
    if layer not in ("auto", *layers):
        raise SpecError(f"Unknown layer {layer!r}. Allowed: auto, last, {', '.join(layers)}.")
    sites = _look(model, images, window, rng, layers)
    if layer != "auto":
        if (chosen := sites[layer].neurons(layer, count)) is None:
            raise SpecError(
                f"Fewer than {count} neurons that enter {layer} fire where the patch moves them. "
                "Choose another layer, or fewer neurons."
            )
        return chosen
    # What enters the first layer is the image.
    candidates = [
        neurons
        for name, site in list(sites.items())[1:]
        if len(site.share) > 1 and site.lowest >= _LOWEST and (neurons := site.neurons(name, count))
    ]
    if not candidates:
        raise SpecError(
            f"This network has no layer before pooling with {count} neurons that a patch moves. "
            "Name a layer, or choose fewer neurons."
        )
    covered = [neurons for neurons in candidates if neurons.share >= COVERED]
    return covered[-1] if covered else max(candidates, key=lambda neurons: neurons.share)


@contextmanager
def entering(layer: nn.Module) -> Iterator[list[Tensor]]:
    """A list whose one item is what entered `layer` in the last forward pass."""
    seen: list[Tensor] = []

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen[:] = [inputs[0]]

    hook = layer.register_forward_pre_hook(look)
    try:
        yield seen
    finally:
        hook.remove()


def _look(
    model: nn.Module,
    images: Tensor,
    window: tuple[slice, slice],
    rng: Generator,
    layers: Mapping[str, nn.Conv2d | nn.Linear],
) -> dict[str, _Site]:
    """What enters the layers, in the order of a forward pass, on images as they are, with a random
    patch each, and with everything but the patch from another image.
    """
    rows, columns = window
    inside, outside = images.clone(), images.roll(1, 0)
    patches = images[:, :, rows, columns].shape
    inside[:, :, rows, columns] = torch.rand(patches, generator=rng).to(images)
    outside[:, :, rows, columns] = images[:, :, rows, columns]
    sites: dict[str, _Site] = {}
    names = {layer: name for name, layer in layers.items()}

    def look(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        clean, within, without = _by_position(inputs[0]).chunk(3)
        moved, other = ((part - clean).square().mean((0, 1)) for part in (within, without))
        sites[names[layer]] = _Site(
            weight=outgoing(layer),
            moved=moved,
            share=moved / (moved + other).clamp_min(1e-12),
            firing=clean.mean(0) > _SILENT * clean.amax(0),
            lowest=clean.min().item(),
        )

    hooks = [layer.register_forward_pre_hook(look) for layer in layers.values()]
    try:
        model(torch.cat([images, inside, outside]))
    finally:
        for hook in hooks:
            hook.remove()
    return sites


def outgoing(layer: nn.Conv2d | nn.Linear) -> Tensor:
    """Sum of |weight| from each channel that enters a layer: (in channels,)."""
    weight = layer.weight.detach().abs()
    if isinstance(layer, nn.Linear):
        return weight.sum(0)
    return weight.unflatten(0, (layer.groups, -1)).sum((1, 3, 4)).flatten()


def _by_position(values: Tensor) -> Tensor:
    """(N, channels, positions) of what enters a layer: (N, C, H, W) of a convolution, (N, F) or
    (N, tokens, F) of a linear layer.
    """
    if values.ndim == 4:
        return values.flatten(2)
    return values[:, :, None] if values.ndim == 2 else values.flatten(1, -2).transpose(1, 2)
