"""Small universal perturbations: how many images of other classes one change of the pixels, the
same for all images, sends to a class.

    max over |v|_inf <= eps of  -1/n sum over y_i != c of CE(f(clip(x_i + v)), c)

by projected sign gradients (Moosavi-Dezfooli et al. 2017, arXiv 1610.08401, targeted; the ascent is
that of Shafahi et al. 2020, arXiv 1811.11304), for all classes at once, from v = 0. A backdoor is a
universal perturbation that was trained in, so a class that is reached much more easily than all
others is suspicious; benign models have such perturbations as well, for every class.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.model_under_test import FORWARD_CHUNK, exact_float32
from ngf.defenses.batches import step_rng

BATCH = 32  # images of a step
_FIRST_STEP = 0.25  # of eps; it falls to 0 over the steps


def perturb(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    num_classes: int,
    *,
    epsilon: float,
    steps: int,
    seed: int,
) -> Iterator[Tensor]:
    """Yield the perturbations (K, C, H, W) after each step, one for each of K classes.

    model: frozen, in eval mode. images: float (N, C, H, W) in [0, 1]. epsilon: largest change of a
    pixel, of a range of one.
    """
    found = images.new_zeros(num_classes, *images.shape[1:])
    for step in range(steps):
        drawn = torch.randperm(len(images), generator=step_rng(seed, step))[:BATCH].to(
            labels.device
        )
        size = _FIRST_STEP * epsilon * (1 - step / steps)
        slope = torch.cat(
            [
                _slope(model, images[drawn], labels[drawn], found, some)
                for some in torch.arange(num_classes, device=labels.device).split(_at_once(drawn))
            ]
        )
        found = (found - size * slope.sign()).clamp(-epsilon, epsilon)
        yield found


def hits(model: nn.Module, images: Tensor, labels: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
    """How many images of other classes each perturbation sends to its class, and of how many:
    int64 (K,) each.
    """
    right = []
    with torch.no_grad(), exact_float32():
        for c, change in enumerate(found):
            called = torch.cat(
                [
                    model((x + change).clamp(0, 1)).argmax(1)
                    for x in images[labels != c].split(FORWARD_CHUNK)
                ]
                or [labels[:0]]
            )
            right.append(int((called == c).sum()))
    own = torch.bincount(labels, minlength=len(found)).cpu()
    return torch.tensor(right), len(labels) - own


def _at_once(drawn: Tensor) -> int:
    return max(1, FORWARD_CHUNK // len(drawn))


def _slope(
    model: nn.Module, images: Tensor, labels: Tensor, found: Tensor, classes: Tensor
) -> Tensor:
    """The gradient of each class's loss for its perturbation: (k, C, H, W)."""
    changes = found[classes].requires_grad_(True)
    shown = (images[None] + changes[:, None]).clamp(0, 1)  # (k, N, C, H, W)
    with exact_float32():
        logits = model(shown.flatten(0, 1))
        wanted = classes.repeat_interleave(len(images))
        others = labels.repeat(len(classes)) != wanted
        loss = (F.cross_entropy(logits, wanted, reduction="none") * others).sum()
        (slope,) = torch.autograd.grad(loss, changes, materialize_grads=True)
    return slope
