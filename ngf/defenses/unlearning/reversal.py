"""Triggers reversed from a model: for each class the smallest patch that sends clean images there
(Wang et al. 2019, Neural Cleanse), and which of them is too small to be natural.

    x' = (1 - m) x + m p,  m in [0, 1] for each pixel, p in [0, 1] for each value
    min over m, p of CE(f(x'), t) + c |m|_1

with Adam (rate 0.1) over m = (1 + tanh a) / 2, p = (1 + tanh b) / 2, from m = p = 1/2. The cost c
begins at 0.001. Success is counted over rounds of a few batches: after 5 rounds in a row of 98 %
or more c is doubled, after 5 below it is divided by 2^1.5. The smallest mask after a round of
success is kept; a class is done when that has not lost a hundredth in 25 rounds, c having gone both
ways.

The backdoor's class takes a much smaller mask than others. With the median of |m|_1 over the
classes, and MAD the median distance from it, the anomaly index (median - |m|_1) / (1.4826 MAD)
would be a standard normal number, were the sizes normal: above 2 is an outlier.

Changed: images of the class itself neither teach nor count, since they are there already. Only
masks that are too small are outliers. All classes are searched at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ngf.data.images import Images, to_float
from ngf.defenses.batches import step_rng

STEPS, BATCH = 300, 32  # of a search; images in each step
_LR, _BETAS = 0.1, (0.5, 0.9)
_COST, _UP, _DOWN = 1e-3, 2.0, 2.0**1.5
_ROUND, _PATIENCE, _SUCCESS = 5, 5, 0.98  # steps; rounds; share of images
_STALE, _PROGRESS = 25, 0.99  # rounds; what a mask has to shrink to in them
_AT_ONCE = 128  # images in one forward pass; on a CPU more are slower


@dataclass(frozen=True)
class Triggers:
    """What was reversed, one trigger for each class.

    masks: in [0, 1], (K, 1, H, W).
    patterns: in [0, 1], (K, C, H, W).
    success: share of other classes' images that each sent to its class, when it was found: (K,).
    """

    masks: Tensor
    patterns: Tensor
    success: Tensor

    @property
    def sizes(self) -> Tensor:
        """|m|_1 of each mask, in pixels: (K,)."""
        return self.masks.flatten(1).sum(1)

    def applied(self, images: Tensor, classes: Tensor) -> Tensor:
        """Images (N, C, H, W) that carry the triggers of these classes (N,)."""
        return stamped(images, self.masks[classes], self.patterns[classes])


def stamped(images: Tensor, masks: Tensor, patterns: Tensor) -> Tensor:
    """(1 - m) x + m p."""
    return torch.lerp(images, patterns, masks)


class Reversal:
    """A search in progress, for all classes at once; each has a cost of its own.

    K is the number of classes below.
    """

    def __init__(self, num_classes: int, shape: tuple[int, int, int], like: Tensor) -> None:
        """shape: (C, H, W) of an image. like: a tensor of the model's dtype and device."""
        channels, *sides = shape
        self.raw_masks = like.new_zeros(num_classes, 1, *sides)
        self.raw_patterns = like.new_zeros(num_classes, channels, *sides)
        self.optimizer = torch.optim.Adam([self.raw_masks, self.raw_patterns], _LR, betas=_BETAS)
        counts = like.new_zeros(num_classes, dtype=torch.int64)
        self.found = {  # tensors of one entry for each class
            "cost": torch.full_like(counts, 0, dtype=like.dtype) + _COST,
            "good": counts.clone(),  # rounds in a row with success, since the cost changed
            "bad": counts.clone(),
            "raised": counts.bool(),
            "lowered": counts.bool(),
            "stale": counts.clone(),  # rounds since the kept mask has become much smaller
            "mark": torch.full_like(counts, 0, dtype=like.dtype) + math.inf,  # its size then
            "hits": counts.clone(),  # of this round
            "shown": counts.clone(),
            "kept": counts.bool(),  # whether a mask is kept
            "success": torch.full_like(counts, 0, dtype=like.dtype),  # of the kept or last round
            "masks": self.masks.clone(),
            "patterns": self.patterns.clone(),
        }
        self.done = counts.bool()
        self.step = 0

    @property
    def masks(self) -> Tensor:
        return (1 + self.raw_masks.tanh()) / 2

    @property
    def patterns(self) -> Tensor:
        return (1 + self.raw_patterns.tanh()) / 2

    def triggers(self) -> Triggers:
        """The smallest successful trigger of each class so far; where there is none, the one that
        is at hand.
        """
        kept = self.found["kept"][:, None, None, None]
        return Triggers(
            torch.where(kept, self.found["masks"], self.masks),
            torch.where(kept, self.found["patterns"], self.patterns),
            self.found["success"].clone(),
        )

    def advance(self, model: nn.Module, images: Tensor, labels: Tensor) -> float:
        """One step of all classes that are not done; gives the share of images that their triggers
        sent there before it.

        images: float (N, C, H, W) in [0, 1]. model: in eval mode.
        """
        hits = shown = 0
        self.raw_masks.grad = torch.zeros_like(self.raw_masks)
        self.raw_patterns.grad = torch.zeros_like(self.raw_patterns)
        for part in (~self.done).nonzero()[:, 0].split(max(1, _AT_ONCE // len(images))):
            right, count = self._descend(model, images, labels, part)
            hits, shown = hits + right, shown + count
        self.optimizer.step()
        self.step += 1
        if self.step % _ROUND == 0:
            self._end_round()
        return hits / shown if shown else 0.0

    def _descend(
        self, model: nn.Module, images: Tensor, labels: Tensor, part: Tensor
    ) -> tuple[int, int]:
        """Gradients of some classes; how many images went there, of how many."""
        raw = [values[part].requires_grad_(True) for values in (self.raw_masks, self.raw_patterns)]
        masks, patterns = ((1 + values.tanh()) / 2 for values in raw)
        shown = stamped(images[None], masks[:, None], patterns[:, None])  # (k, N, C, H, W)
        logits = model(shown.flatten(0, 1)).unflatten(0, shown.shape[:2])
        wanted = part[:, None].expand(-1, len(images))
        others = labels[None] != wanted
        losses = F.cross_entropy(logits.transpose(1, 2), wanted, reduction="none")
        mean = (losses * others).sum(1) / others.sum(1).clamp(min=1)
        loss = (mean + self.found["cost"][part] * masks.flatten(1).sum(1)).sum()
        slopes = torch.autograd.grad(loss, raw)
        for values, slope in zip((self.raw_masks, self.raw_patterns), slopes, strict=True):
            assert values.grad is not None
            values.grad[part] = slope
        right = ((logits.argmax(2) == wanted) & others).sum(1)
        self.found["hits"][part] += right
        self.found["shown"][part] += others.sum(1)
        return int(right.sum()), int(others.sum())

    def _end_round(self) -> None:
        """Keep what has become better, and set the costs."""
        f, active = self.found, ~self.done
        success = f["hits"] / f["shown"].clamp(min=1)
        masks = self.masks
        sizes, best = masks.flatten(1).sum(1), f["masks"].flatten(1).sum(1)
        good = active & (success >= _SUCCESS)
        better = good & (~f["kept"] | (sizes < best))
        f["kept"] |= better
        f["masks"][better], f["patterns"][better] = masks[better], self.patterns[better]
        told = better | (active & ~f["kept"])
        f["success"][told] = success[told].to(f["success"])

        best = torch.where(f["kept"], f["masks"].flatten(1).sum(1), math.inf)
        shrunk = best < _PROGRESS * f["mark"]
        f["mark"] = torch.where(shrunk, best, f["mark"])
        f["stale"] = torch.where(shrunk | ~f["kept"], 0, f["stale"] + 1)

        f["good"] = torch.where(good, f["good"] + 1, 0)
        f["bad"] = torch.where(good, 0, f["bad"] + 1)
        up, down = f["good"] >= _PATIENCE, f["bad"] >= _PATIENCE
        f["cost"] = torch.where(up, f["cost"] * _UP, f["cost"])
        f["cost"] = torch.where(down, f["cost"] / _DOWN, f["cost"])
        f["good"][up], f["bad"][down] = 0, 0
        f["raised"] |= up & active
        f["lowered"] |= down & active
        f["hits"], f["shown"] = torch.zeros_like(f["hits"]), torch.zeros_like(f["shown"])
        self.done |= f["raised"] & f["lowered"] & (f["stale"] >= _STALE)

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values, enough to go on to the last bit."""
        return {
            "step": self.step,
            "raw_masks": self.raw_masks,
            "raw_patterns": self.raw_patterns,
            "done": self.done,
            "found": dict(self.found),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.step = state["step"]
        self.raw_masks.copy_(state["raw_masks"])
        self.raw_patterns.copy_(state["raw_patterns"])
        self.done = state["done"].clone()
        self.found = {name: value.clone() for name, value in state["found"].items()}
        self.optimizer.load_state_dict(state["optimizer"])


def reverse(
    model: nn.Module,
    clean: Images,
    num_classes: int,
    *,
    seed: int = 0,
    steps: int = STEPS,
    batch: int = BATCH,
) -> Triggers:
    """A whole search, by clean images on the model's device."""
    weight = next(model.parameters())
    search = Reversal(num_classes, clean.shape, weight.detach())
    model.eval()
    while search.step < steps and not bool(search.done.all()):
        rng = step_rng(seed, search.step)
        drawn = torch.randperm(len(clean), generator=rng)[:batch].to(clean.labels.device)
        search.advance(model, to_float(clean.images[drawn]).to(weight.dtype), clean.labels[drawn])
    return search.triggers()


def anomaly(sizes: Tensor) -> Tensor:
    """The anomaly index of each size (K,): how far below the median, in units of what the median
    distance is for normal numbers; negative above it. It is 1/1.4826 at most for two sizes.
    """
    sizes = sizes.double()
    middle = sizes.quantile(0.5)
    spread = (sizes - middle).abs().quantile(0.5)
    floor = 1e-9 * sizes.abs().max().clamp(min=1e-9)  # where over half of the sizes are one
    return (middle - sizes) / (1.4826 * torch.maximum(spread, floor))
