"""What an attacker who learns a trigger works with, and what one who sits inside the training loop
promises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ngf.data.images import Images
from ngf.progress import Progress, quiet


@dataclass(frozen=True)
class AttackerView:
    """All that an attacker sees before training starts.

    train: clean training images, on the device.
    build: a fresh network of the victim's architecture there, its weights drawn from torch's global
        generator.
    surrogate: a clean model, trained once and kept; `robust` against small perturbations if asked
        for.
    survives_flip: for each class, whether a mirrored image still belongs to it; None for all.
    progress: told how far a preparation is; call it often, it may raise to stop.
    """

    train: Images
    num_classes: int
    seed: int
    build: Callable[[], nn.Module]
    surrogate: Callable[[bool], nn.Module]
    survives_flip: list[bool] | None = None
    progress: Progress = quiet

    @property
    def device(self) -> torch.device:
        return self.train.images.device


class InLoopAttacker(Protocol):
    """An attacker inside the training loop; owns networks of its own and their optimizers.

    Several processes that train together have a copy each, made by pickle, and give it the same
    batches: it does not know of them (see `ngf.training.team`).
    """

    def loss(
        self, model: nn.Module, images: Tensor, labels: Tensor, rng: torch.Generator
    ) -> Tensor:
        """The loss of one augmented clean batch, with respect to the classifier and to the
        attacker's networks.

        images: float (N, C, H, W) in [0, 1].
        labels: int64 (N,).
        rng: on the CPU; all that is random comes from it.
        """
        ...

    def step(self, progress: float) -> None:
        """Move the attacker's own networks by the gradients of the last loss, and set those to
        zero.

        progress: share of the training that is over, in [0, 1).
        """
        ...

    def trigger(self) -> dict[str, Tensor]:
        """What `apply` needs, for `Attack.with_trigger`; copies, on the CPU."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that changes, so that a resumed training is the undisturbed one."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...
