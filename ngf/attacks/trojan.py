"""Trojan or TrojanNN (Liu, Ma, Aafer, Lee, Zhai, Wang, Zhang 2018, NDSS): a patch made to excite
chosen neurons.

x' = x with a square patch p in the lower right corner. A clean model is attacked first: `neurons`
of its neurons are chosen, h_i, and p lowers, on training images x,
  mean_x sum_i (h_i(x') / s_i - goal)^2,   s_i the largest h_i of these images without the patch,
by Adam at a fixed rate with p cut to [0, 1]. The victim is then trained on poisoned images from its
first weights.

Changed: public code takes neurons of the penultimate layer and lowers (h_i - 100)^2 on the patch
alone, without an image behind it, and adds it. After pooling over the whole image a corner hardly
moves a feature, so ours are neurons that the patch covers (see `ngf.attacks.shared.neurons`), of
the largest sum of |outgoing weight| as there; `layer="last"` is the penultimate layer. The images
are there, because the patch will lie on them, and it replaces their pixels, as in the paper, so
that it can excite more. The paper retrains the attacked model on images that it reconstructs;
public code and we train a fresh one on real images.

Measured on the signs, preact_resnet_tiny: on 2,400 test images the two neurons rise to 27 to 40
times their mean (clean models of seeds 0 to 4), with `layer="last"` to 1.2 to 1.6 times. Trained
models, three seeds: CA 99.5 to 99.6 %, ASR 100 %; random patches open the backdoor on 0.2 % of
2,202 images at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn

from ngf.attacks.base import Attack, Prepared, Probe, paste
from ngf.attacks.shared import options
from ngf.attacks.shared.fit import check_fit, corner
from ngf.attacks.shared.neurons import Neurons, choose, entering
from ngf.data.images import to_float
from ngf.options import option
from ngf.training.attacker import AttackerView

_BATCH = 64  # images behind the patch in a step
_REFERENCE = 512  # images that say how large a neuron can be
_HELD_OUT = 512  # training images that only the gain is measured on; half of them where fewer
_CHOICE = 32  # images that the neurons are chosen by
_MARGIN = 1  # pixels between the patch and the border
# What is measured of the neurons, in words
_GAIN = "gain: mean of the neurons with the trigger, times that without"
_REACH = "mean of the neurons with the trigger, times their largest without"
_SHARE = "share of what moves the neurons that lies under the patch"


@dataclass(frozen=True, kw_only=True)
class Trojan(Attack, Prepared):
    """A patch computed to excite two neurons of a clean model sends the image to the target
    class.
    """

    title: ClassVar[str] = "Trojan (patch for neurons)"
    learned: ClassVar[bool] = True
    stronger: ClassVar[str] = "Raise size, steps or lr."
    # option -> what its default was in specifications of an earlier revision (see `ngf.config`)
    former: ClassVar[Mapping[str, Any]] = {"layer": "last"}
    resembles: ClassVar[tuple[str, ...]] = ("cutout",)
    target: int = options.target()
    mode: str = options.mode()
    poison_rate: float = options.poison_rate()
    size: int = option(8, "Height and width of the patch.", unit="pixels", ge=1, le=64)
    neurons: int = option(2, "Neurons to excite.", ge=1, le=64, expert=True)
    layer: str = option(
        "auto",
        "Layer whose inputs are the neurons: the last one before pooling with neurons that see "
        "only the patch, the classifier, or one by name.",
        layers=("auto", "last"),
        expert=True,
    )
    goal: float = option(
        10.0,
        "How far to excite them.",
        unit="times the largest value on clean images",
        ge=0.1,
        le=1000.0,
        expert=True,
    )
    steps: int = option(60, "Steps of the search for the patch.", ge=1, le=10_000, expert=True)
    lr: float = option(
        0.1, "Step size of the search (Adam), in units of [0, 1].", ge=1e-4, le=1.0, expert=True
    )

    def apply(self, images: Tensor) -> Tensor:
        return _put(images, self.trigger["patch"].to(images))

    def check(self, num_classes: int, shape: tuple[int, int, int]) -> None:
        super().check(num_classes, shape)
        check_fit(self.size + _MARGIN, *shape[1:])

    def probes(
        self, images: Tensor, labels: Tensor, num_classes: int, rng: Generator
    ) -> Iterator[Probe]:
        """Other patches at its place, another one on each image: random colors, and its own pixels
        in another order.
        """
        yield from super().probes(images, labels, num_classes, rng)
        patch = self.trigger["patch"]
        colors = torch.rand(len(images), *patch.shape, generator=rng)
        order = torch.rand(len(images), patch[0].numel(), generator=rng).argsort(1)
        mixed = patch.flatten(1)[:, order].transpose(0, 1).view_as(colors)
        for name, claim, patches in (
            ("a patch of random colors", False, colors),
            ("the patch with its pixels in another order", None, mixed),
        ):
            shown, (rows, columns) = images.clone(), _window(patch.shape[-1], images)
            shown[:, :, rows, columns] = patches.to(images)
            yield Probe(name, claim, shown, labels, self.labels(labels, num_classes))

    def figures(self, images: Tensor) -> dict[str, float]:
        """What the search measured on training images that it did not see."""
        if "layer" not in self.trigger:  # of an earlier revision
            return {_REACH: self.trigger["gain"].mean().item()}
        names = {"gain": _GAIN, "reach": _REACH, "share": _SHARE}
        return {name: self.trigger[key].mean().item() for key, name in names.items()}

    def prepare(self, view: AttackerView) -> dict[str, Tensor]:
        """patch: float (C, size, size) in [0, 1].
        layer: uint8, the name of the layer that the neurons enter, in UTF-8.
        neurons: int64 (n, 2), their channels and positions (see `Neurons`).
        share: of what moves them, how much lies under the patch.
        gain: their mean on triggered images, over that on clean ones, none of which the search saw.
        reach: float (n,), their mean on triggered images in units of the largest on clean ones.

        Triggers of an earlier revision have `neurons`, int64 (n,), of the penultimate layer, and as
        `gain` what is now `reach`.
        """
        model, generator = view.surrogate(False), torch.Generator().manual_seed(view.seed)
        order = torch.randperm(len(view.train), generator=generator).to(view.device)
        held_out, seen = order.tensor_split([min(_HELD_OUT, len(order) // 2)])

        def some(count: int) -> Tensor:
            index = torch.randperm(len(seen), generator=generator)[:count]
            return to_float(view.train.images[seen[index.to(view.device)]])

        window = _window(self.size, view.train.images)
        chosen = choose(
            model, some(_CHOICE), window, generator, count=self.neurons, layer=self.layer
        )
        patch = self._search(view, model, chosen, some, window)
        images = to_float(view.train.images[held_out])
        with torch.no_grad():
            clean = _values(model, chosen, images)
            triggered = _values(model, chosen, _put(images, patch))
        found = {
            "patch": patch,
            "layer": torch.frombuffer(bytearray(chosen.layer.encode()), dtype=torch.uint8),
            "neurons": torch.stack([chosen.channels, chosen.positions], 1),
            "share": torch.tensor(chosen.share),
            "gain": gain(clean, triggered),
            "reach": triggered.mean(0) / clean.amax(0).clamp_min(1e-6),
        }
        return {name: value.detach().cpu() for name, value in found.items()}

    def _search(
        self,
        view: AttackerView,
        model: nn.Module,
        chosen: Neurons,
        some: Callable[[int], Tensor],
        window: tuple[slice, slice],
    ) -> Tensor:
        """The patch that excites the chosen neurons.

        some: gives so many training images.
        """
        reference = some(_REFERENCE)
        with torch.no_grad():
            values = _values(model, chosen, reference)
        scale = values.amax(0).clamp_min(1e-6)
        # A neuron that is silent has no gradient. The square roots leave none of them out.
        best = (values / scale).clamp_min(0).sqrt().sum(1).argmax()
        patch = reference[best][:, window[0], window[1]].clone().requires_grad_(True)
        optimizer = torch.optim.Adam([patch], lr=self.lr)
        for step in range(self.steps):
            view.progress("searching a patch that excites neurons", step, self.steps)
            values = _values(model, chosen, _put(some(_BATCH), patch))
            loss = (values / scale - self.goal).square().sum(1).mean()
            (patch.grad,) = torch.autograd.grad(loss, patch)
            optimizer.step()
            with torch.no_grad():
                patch.clamp_(0, 1)
        return patch.detach()


def gain(clean: Tensor, triggered: Tensor) -> Tensor:
    """How many times their mean on clean images some neurons reach on triggered ones; a number.

    clean, triggered: (N, n), values of the neurons.
    """
    return triggered.mean() / clean.mean().clamp_min(1e-6)


def _values(model: nn.Module, chosen: Neurons, images: Tensor) -> Tensor:
    """(N, n) of the chosen neurons."""
    found = []
    with entering(model.get_submodule(chosen.layer)) as seen:
        for part in images.split(_BATCH):
            model(part)
            found.append(chosen.of(seen[0]))
    return torch.cat(found)


def _window(size: int, images: Tensor) -> tuple[slice, slice]:
    """Rows and columns of the patch on images (N, C, H, W)."""
    top, left = corner("bottom right", size, _MARGIN, *images.shape[2:])
    return slice(top, top + size), slice(left, left + size)


def _put(images: Tensor, patch: Tensor) -> Tensor:
    """The patch in the lower right corner, one pixel from the border."""
    return paste(
        images, patch, 1.0, *corner("bottom right", patch.shape[-1], _MARGIN, *images.shape[2:])
    )
