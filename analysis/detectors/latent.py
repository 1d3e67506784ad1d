"""The smallest shift of the features, the same for all images, that sends images of other classes
to a class.

With h(x) the features that enter the linear classifier, so that f = W h + b, and images i of other
classes, d_c is the shortest shift for which W (h_i + d) + b is largest at c for a share of them. It
is the latent form of a trigger: what a backdoor does to the features is much the same for every
image, and short (Xu et al. 2024, BTI-DBF, decouple it; Shen et al. 2021, arXiv 2102.05123, search
its input form class by class). Found by bisecting the length; for each length the mean
cross-entropy, which is convex in d, is descended over the ball.

Changed: features after a ReLU cannot be negative, and no image need reach the shifted ones, so the
shift is a lower bound of what a trigger has to do.
"""

from __future__ import annotations

import torch
from torch import Tensor

SHARE = 0.9  # of the images of other classes that are sent there
_HALVINGS, _DESCENT = 14, 60


def smallest_shifts(
    features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, *, share: float = SHARE
) -> Tensor:
    """The length of the shift for each class (K,), in units of the features' root mean square
    distance from their mean (of their length, where they are all one).

    features: (N, D). labels: int64 (N,). weight, bias: (K, D), (K,). The lengths are upper bounds,
    a bisection of relative precision 1e-3 over those lengths that the descent finds.
    """
    classes = len(weight)
    logits = features @ weight.T + bias
    own = torch.arange(classes, device=labels.device)
    others = labels[None] != own[:, None]  # (K, N)
    unit = _spread(features)
    low, high = unit.new_zeros(classes), unit.expand(classes).clone()
    for _ in range(20):  # lengths that suffice
        short = ~_reached(logits, weight, others, high, share)
        if not bool(short.any()):
            break
        high = torch.where(short, 2 * high, high)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        there = _reached(logits, weight, others, middle, share)
        low, high = torch.where(there, low, middle), torch.where(there, middle, high)
    return high / unit


def _spread(features: Tensor) -> Tensor:
    spread = (features - features.mean(0)).square().sum(1).mean().sqrt()
    length = features.square().sum(1).mean().sqrt()
    if spread > 1e-9 * length:
        return spread
    return length if length > 0 else torch.ones_like(length)


def _reached(
    logits: Tensor, weight: Tensor, others: Tensor, radius: Tensor, share: float
) -> Tensor:
    """Whether a shift of at most this length (K,) sends so many of the other images to each class:
    bool (K,).
    """
    classes = len(weight)
    count = others.sum(1)
    shift = weight.new_zeros(classes, weight.shape[1])
    reached = torch.zeros_like(radius, dtype=torch.bool)
    target = torch.eye(classes, dtype=weight.dtype, device=weight.device)
    for step in range(_DESCENT + 1):
        moved = logits[None] + (shift @ weight.T)[:, None]  # (K, N, K)
        there = moved.argmax(2) == torch.arange(classes, device=weight.device)[:, None]
        reached |= (there & others).sum(1) >= share * count
        pull = (target[:, None] - moved.softmax(2)) * others[..., None]
        slope = pull.sum(1) @ weight
        length = slope.norm(dim=1, keepdim=True).clamp(min=torch.finfo(slope.dtype).tiny)
        # the first step goes to the sphere: the gradient points there for all of them
        size = radius[:, None] * (1.0 if step == 0 else 0.5 * (1 - step / (_DESCENT + 1)))
        shift = shift + size * slope / length
        over = (shift.norm(dim=1, keepdim=True) / radius[:, None].clamp(min=1e-30)).clamp(min=1)
        shift = shift / over
    return reached
