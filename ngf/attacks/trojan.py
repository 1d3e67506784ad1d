"""Trojan or TrojanNN (Liu, Ma, Aafer, Lee, Zhai, Wang, Zhang 2018, NDSS): a patch made to excite
chosen neurons.

x' = x with a square patch p in the lower right corner. A clean model is attacked first: of its
penultimate neurons the `neurons` with the largest sum of |outgoing weight| are chosen, and p
lowers, on training images x,
  mean_x sum_i (h_i(x') / s_i - goal)^2,   s_i the largest h_i of these images without the patch,
by Adam at a fixed rate with p cut to [0, 1]. The victim is then trained on poisoned images from its
first weights.

Changed: public code lowers (h_i - 100)^2 on the patch alone, without an image behind it, and adds
it; as our features are small averages, the goal is in units of what clean images reach, the images
are there, because the patch will lie on them, and it replaces their pixels, as in the paper, so
that it can excite more. The paper retrains the attacked model on images that it reconstructs;
public code and we train a fresh one on real images.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ngf.attacks.base import Attack, Prepared, paste
from ngf.attacks.shared import options
from ngf.attacks.shared.fit import check_fit, corner
from ngf.data.images import to_float
from ngf.models import classifier, flow
from ngf.options import option
from ngf.training.attacker import AttackerView

_BATCH = 64  # images behind the patch in a step
_REFERENCE = 512  # images that say how large a feature can be
_MARGIN = 1  # pixels between the patch and the border


@dataclass(frozen=True, kw_only=True)
class Trojan(Attack, Prepared):
    """A patch computed to excite two neurons of a clean model sends the image to the target
    class.
    """

    title: ClassVar[str] = "Trojan (patch for neurons)"
    learned: ClassVar[bool] = True
    stronger: ClassVar[str] = "Raise size, steps or lr."
    resembles: ClassVar[tuple[str, ...]] = ("cutout",)
    target: int = options.target()
    mode: str = options.mode()
    poison_rate: float = options.poison_rate()
    size: int = option(8, "Height and width of the patch.", unit="pixels", ge=1, le=64)
    neurons: int = option(2, "Penultimate neurons to excite.", ge=1, le=64, expert=True)
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

    def prepare(self, view: AttackerView) -> dict[str, Tensor]:
        """patch: float (C, size, size) in [0, 1]; neurons: int64, which were chosen; gain: their
        mean value on triggered images, in units of the largest on clean ones.
        """
        model = view.surrogate(False)
        _name, linear = classifier(flow(model, to_float(view.train.images[:2])))
        # Ties keep the order of the neurons, so that every machine chooses the same ones.
        chosen = (
            linear.weight.detach()
            .abs()
            .sum(0)
            .argsort(descending=True, stable=True)[: self.neurons]
        )
        generator = torch.Generator().manual_seed(view.seed)
        train, phase = view.train, "searching a patch that excites neurons"

        def some(count: int) -> Tensor:
            index = torch.randperm(len(train), generator=generator)[:count]
            return to_float(train.images[index.to(view.device)])

        patch = torch.rand(train.images.shape[1], self.size, self.size, generator=generator).to(
            view.device
        )
        patch.requires_grad_(True)
        optimizer = torch.optim.Adam([patch], lr=self.lr)
        with _entering(linear) as features:
            reference = some(_REFERENCE)
            with torch.no_grad():
                model(reference)
                scale = features[0][:, chosen].amax(0).clamp_min(1e-6)
            for step in range(self.steps):
                view.progress(phase, step, self.steps)
                model(_put(some(_BATCH), patch))
                loss = (features[0][:, chosen] / scale - self.goal).square().sum(1).mean()
                (patch.grad,) = torch.autograd.grad(loss, patch)
                optimizer.step()
                with torch.no_grad():
                    patch.clamp_(0, 1)
            with torch.no_grad():
                model(_put(reference, patch))
                gain = (features[0][:, chosen] / scale).mean(0)
        return {
            name: value.detach().cpu()
            for name, value in (("patch", patch), ("neurons", chosen), ("gain", gain))
        }


def _put(images: Tensor, patch: Tensor) -> Tensor:
    """The patch in the lower right corner, one pixel from the border."""
    return paste(
        images, patch, 1.0, *corner("bottom right", patch.shape[-1], _MARGIN, *images.shape[2:])
    )


@contextmanager
def _entering(layer: nn.Module) -> Iterator[list[Tensor]]:
    """A list whose one item is what entered `layer` in the last forward pass: float (N,
    features).
    """
    seen: list[Tensor] = []

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen[:] = [inputs[0].flatten(1)]

    hook = layer.register_forward_pre_hook(look)
    try:
        yield seen
    finally:
        hook.remove()
