"""A clean model for attackers who need one to make their trigger: trained once for a setting, then
kept.

A robust one is trained on adversarial images (Madry et al. 2018, arXiv 1706.06083): projected
gradient ascent on the loss inside a box around each image. `perturb` is that ascent, for attacks
that need it too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ngf import models
from ngf.checkpoints.weights import load_weights, made_again, save_weights
from ngf.config import Choice, TrainSpec
from ngf.data import Splits
from ngf.places import cache_dir
from ngf.runs.folder import WEIGHTS
from ngf.runs.store import Store
from ngf.training.loop import Trainer

EPSILON = 8 / 255  # half the side of the box of adversarial training, in units of [0, 1]
ASCENT_STEPS = 3  # of each batch in adversarial training; a tiny network gains little from more


def perturb(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    step: float,
    steps: int,
    start: Tensor | None = None,
) -> Tensor:
    """Images within `epsilon` (largest change of a pixel) that raise the loss of `labels`: signed
    gradient ascent.

    images: float (N, C, H, W) in [0, 1], as is what comes back.
    start: a first change, else none.

    The mode of the model is left as it is, and its gradients are not touched.
    """
    change = torch.zeros_like(images) if start is None else start
    for _ in range(steps):
        change = change.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(images + change), labels), change)
        change = (change + step * gradient.sign()).clamp(-epsilon, epsilon)
        change = (images + change).clamp(0, 1) - images
    return (images + change).clamp(0, 1).detach()


class AdversarialTraining:
    """A `InLoopAttacker` that replaces each batch by adversarial images; it has no trigger."""

    def loss(self, model: nn.Module, images: Tensor, labels: Tensor, rng: Generator) -> Tensor:
        start = (torch.rand(images.shape, generator=rng) * 2 - 1).to(images) * EPSILON
        model.eval()  # the running statistics of BatchNorm are for the images that are learned from
        worst = perturb(
            model,
            images,
            labels,
            epsilon=EPSILON,
            step=EPSILON / 2,
            steps=ASCENT_STEPS,
            start=start,
        )
        model.train()
        return F.cross_entropy(model(worst), labels)

    def step(self, progress: float) -> None:
        """There is nothing else to move."""

    def trigger(self) -> dict[str, Tensor]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """There is nothing to restore."""


def surrogate(
    spec: TrainSpec,
    splits: Splits,
    robust: bool,
    store: Store,
    device: torch.device,
    progress: Callable[[str, int, int], None],
) -> nn.Module:
    """A clean model for the setting of `spec`, in eval mode on `device`; `robust` against small
    changes or not.

    A finished benign run of the same setting is taken where there is one.
    """
    training = replace(
        spec.training, processes=1, sync_batch_norm=True
    )  # whoever else waits for it
    benign = replace(spec, attack=Choice("none"), training=training)
    content = _content({"facts": splits.source.facts})
    torch.manual_seed(spec.seed)
    model = models.for_data(spec.model, splits.source.facts)
    run = store.find(benign.id)
    if not robust and run is not None and run.status == "done" and _content(run.result) == content:
        return load_weights(model, run.path / WEIGHTS, made_again(run)).to(device)
    path = (
        cache_dir()
        / "surrogates"
        / f"{benign.id}{content[:8]}{'-robust' if robust else ''}.safetensors"
    )
    if path.exists():
        return load_weights(model, path, f"Delete {path}: the model is then trained again.").to(
            device
        )
    phase = f"training a {'robust' if robust else 'clean'} model to attack with"
    trainer = Trainer(
        model.to(device),
        splits.train.to(device),
        training,
        seed=spec.seed,
        survives_flip=splits.source.facts["survives_flip"],
        attacker=AdversarialTraining() if robust else None,
    )
    trainer.before_step = lambda: progress(phase, max(1, trainer.epoch), training.epochs)
    progress(phase, 0, training.epochs)
    for _ in trainer:
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    save_weights(model, path)
    return model.eval()


def _content(result: Mapping[str, Any] | None) -> str:
    """Which images a model was trained on, where they are the user's own; else nothing."""
    return (result or {}).get("facts", {}).get("fingerprint", "")
