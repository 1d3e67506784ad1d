"""What a trigger does to a model that may never have seen it: attack success, and how visible the
trigger is.

ASR counts as everywhere: triggered images whose true class is not the target (all images in
all-to-all) that are called the attacker's class, with a 95 % Wilson interval. Visibility is told by
the structural similarity of Wang, Bovik, Sheikh, Simoncelli 2004 (IEEE TIP 13(4), eq. 13),

SSIM(x, y) = (2 m_x m_y + C1)(2 s_xy + C2) / ((m_x^2 + m_y^2 + C1)(s_x^2 + s_y^2 + C2)),

with means m, variances s^2 and covariance s_xy under an 11x11 Gaussian window of sigma 1.5 px, C1 =
0.01^2 and C2 = 0.03^2 for pixels in [0, 1], averaged over all places where the window lies inside
the image, over channels and images; and by the largest and the Euclidean size of the residual.
Changed: images smaller than the window get the largest odd window that fits. Triggered images are
rounded to 8 bits, as in training and testing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from analysis.image_kinds import kinds_of
from analysis.measurements.base import Measurement
from analysis.model_under_test import FORWARD_CHUNK, chunks, exact_float32, frozen_copy
from analysis.result import Partial, Value
from ngf.catalogue import build
from ngf.config import Choice
from ngf.data import to_bytes, to_float
from ngf.evaluate import wilson
from ngf.options import SpecError, option

NUM_EXAMPLES = 12
WITHOUT_TRIGGER = kinds_of(attacked=False, in_loop=False)


@dataclass(frozen=True, kw_only=True)
class TriggerProbe(Measurement):
    """Attack success of any trigger on this model, and how visible the trigger is.

    Values: asr, asr_low, asr_high, n_triggered (images that count for it), ca (on the same images,
    clean), unchanged (share of all images that are called the same with and without the trigger),
    ssim (mean), linf (largest of all images) and l2 (mean over images) of the residual, pixels in
    [0, 1]. What is not known yet is None; so are the three of the ASR when no image counts. Arrays:
    clean, triggered, residual (12, H, W, 3) uint8, the last five times as strong around gray;
    labels, wanted, says_clean, says_triggered (12,) their classes, counts (12,) whether the image
    counts for the ASR; called (K,) how many of the images that count are called each class,
    triggered.
    """

    title: ClassVar[str] = "Probe of a trigger"

    num_images: int = option(
        500, "Images to measure on, drawn by the seed.", unit="images", ge=1, le=100_000
    )
    attack: str = option(
        '{"name":"badnets"}',
        'The attack and its options as JSON: {"name": "badnets", "size": 3}. '
        "Its trigger must be a formula, not one that is learned.",
    )

    def measure(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        seed: int,
    ) -> Iterator[Partial]:
        """images: float (N, C, H, W) in [0, 1]; labels: int64 (N,)."""
        stamp = self.stamp(images, seed)
        attack = self.trigger()
        frozen = frozen_copy(model, images, labels)
        with torch.no_grad(), exact_float32():
            classes = frozen(images[:1]).shape[-1]
            attack.check(classes, tuple(images.shape[1:]))
            wanted, counts = attack.labels(labels, classes), attack.asr_mask(labels)
            shown = _examples(labels, counts)
            images = _eight_bit(images)
            triggered = _eight_bit(attack.apply(images))
            known = (
                "asr",
                "asr_low",
                "asr_high",
                "n_triggered",
                "ca",
                "unchanged",
                "ssim",
                "linf",
                "l2",
            )
            values: dict[str, Value] = {"attack": self.attack, **dict.fromkeys(known)}
            arrays = _pictures(images[shown], triggered[shown]) | {
                "labels": _plain(labels[shown]),
                "wanted": _plain(wanted[shown]),
                "counts": _plain(counts[shown]),
                "says_clean": _plain(frozen(images[shown]).argmax(1)),
                "says_triggered": _plain(frozen(triggered[shown]).argmax(1)),
            }
            yield Partial(values={**values, **stamp()}, arrays=arrays, fraction=0.1)
            called, before = (
                torch.cat([frozen(part).argmax(1) for part in batch.split(FORWARD_CHUNK)])
                for batch in (triggered, images)
            )
            count = int(counts.sum())
            hits = int((called == wanted)[counts].sum())
            low, high = wilson(hits, count) if count else (None, None)
            residual = (triggered - images).flatten(1).double()
            values |= {
                "asr": hits / count if count else None,
                "asr_low": low,
                "asr_high": high,
                "n_triggered": count,
                "ca": float((before == labels).double().mean()),
                "unchanged": float((called == before).double().mean()),
                "linf": float(residual.abs().max()),
                "l2": float(residual.norm(dim=1).mean()),
            }
            arrays |= {"called": np.bincount(_plain(called[counts]), minlength=classes)}
            yield Partial(values={**values, **stamp()}, arrays=arrays, fraction=0.7)
            values["ssim"] = float(
                torch.cat([ssim(*pair) for pair in chunks(images, triggered, FORWARD_CHUNK)]).mean()
            )
            yield Partial(values={**values, **stamp()}, arrays=arrays, fraction=1.0, done=True)

    def trigger(self) -> Any:
        """The attack that is probed. Raises SpecError when it has no trigger, or one that is
        learned first.
        """
        if self.data not in WITHOUT_TRIGGER:
            raise SpecError(
                f"data = {self.data} has a trigger already, and a probe puts its own on clean "
                f"images. Allowed: {', '.join(WITHOUT_TRIGGER)}."
            )
        try:
            choice = Choice.from_json(json.loads(self.attack))
        except json.JSONDecodeError as error:
            raise SpecError(
                f'attack is not JSON ({error}). It looks like {{"name": "badnets", "size": 3}}.'
            ) from None
        attack = build("attacks", choice)
        if attack.learned or not attack.poison_rate:
            raise SpecError(
                f"{choice.name} has no trigger before a training. A probe takes an attack whose "
                "trigger is a formula, such as badnets, blend or drawn."
            )
        return attack


def ssim(x: Tensor, y: Tensor, window: int = 11, sigma: float = 1.5) -> Tensor:
    """Structural similarity of each pair of images, (N,); 1 means equal. x, y: float (N, C,
    H, W) in [0, 1].
    """
    side = min(window, *x.shape[2:])
    side -= 1 - side % 2
    # The Gaussian is a product, so one axis after the other; as matrices, which are fast for any
    # number of channels.
    down, across = (_windows(size, side, sigma).to(x) for size in x.shape[2:])

    def blur(maps: Tensor) -> Tensor:
        return down @ (maps @ across.T)

    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    cov = blur(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    similar = (
        (2 * mean_x * mean_y + c1)
        * (2 * cov + c2)
        / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    )
    return similar.flatten(1).mean(1)


def _windows(size: int, side: int, sigma: float) -> Tensor:
    """Row i holds the weights of the window that starts at pixel i: float64 (size - side + 1,
    size).
    """
    place = torch.arange(size)[None, :] - torch.arange(size - side + 1)[:, None] - side // 2
    weights = torch.exp(-(place.double() ** 2) / (2 * sigma**2)) * (place.abs() <= side // 2)
    return weights / weights.sum(1, keepdim=True)


def _examples(labels: Tensor, counts: Tensor) -> Tensor:
    """Places of at most 12 images: those that count first, one of each class before the
    second of any.
    """
    rank = torch.zeros_like(labels)
    for label in labels.unique():
        same = (labels == label).nonzero()[:, 0]
        rank[same] = torch.arange(len(same), device=labels.device)
    order = sorted(range(len(labels)), key=lambda i: (not counts[i], int(rank[i]), int(labels[i])))
    return torch.tensor(order[:NUM_EXAMPLES], device=labels.device)


def _eight_bit(images: Tensor) -> Tensor:
    return to_float(to_bytes(images)).to(images.dtype)


def _pictures(clean: Tensor, triggered: Tensor) -> dict[str, np.ndarray]:
    def rows(images: Tensor) -> np.ndarray:
        return images[:, :3].expand(-1, 3, -1, -1).permute(0, 2, 3, 1).cpu().numpy()

    before, after = to_bytes(clean), to_bytes(triggered)
    residual = (128 + 5 * (after.int() - before.int())).clamp(0, 255).to(torch.uint8)
    return {"clean": rows(before), "triggered": rows(after), "residual": rows(residual)}


def _plain(values: Tensor) -> np.ndarray:
    return values.cpu().numpy()
