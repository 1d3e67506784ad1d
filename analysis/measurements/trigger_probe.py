"""What a trigger does to a model that may never have seen it: attack success, and how visible the
trigger is.

The ASR is counted as everywhere: of the triggered images whose true class is not the target (all
images in all-to-all), the share that is given the attacker's class, with a 95 % Wilson interval.
Visibility is told by the structural similarity of Wang et al. 2004 (see `ngf.similarity`) under its
11x11 Gaussian window, averaged over places, channels and images, and by the largest and the
Euclidean size of the residual. Changed: images smaller than the window get the largest odd window
that fits. Triggered images are rounded to 8 bits, as in training and testing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from analysis.curvature.gradients import predictions
from analysis.image_kinds import kinds_of
from analysis.measurements.base import Measurement, Needs
from analysis.model_under_test import FORWARD_CHUNK, chunks, exact_float32, frozen_copy
from analysis.result import Partial, Value
from ngf.attacks.base import Attack
from ngf.attacks.shared.effect import effect
from ngf.catalogue import build
from ngf.config import Choice
from ngf.data import to_bytes, to_float
from ngf.evaluate import wilson
from ngf.options import SpecError, option
from ngf.similarity import structural_similarity

NUM_EXAMPLES = 12  # pictures that are kept of each kind
WITHOUT_TRIGGER = kinds_of(attacked=False, in_loop=False)


@dataclass(frozen=True, kw_only=True)
class TriggerProbe(Measurement):
    """Attack success of any trigger on this model, and how visible the trigger is.

    Values, None until they are known:
        attack: as given.
        asr, asr_low, asr_high: None for good when no image counts for the ASR.
        n_triggered: images that count for it.
        ca: on the same images, clean.
        unchanged: share of all images that are given one class with and without the trigger.
        ssim: mean over images.
        linf, l2: size of the residual, for pixels in [0, 1]: the largest over all images, the mean
            over images.

    Arrays:
        clean, triggered: uint8 (12, H, W, 3), examples.
        residual: uint8 (12, H, W, 3), five times as strong, around gray.
        labels, wanted: (12,), their classes, and those that the attacker wants.
        says_clean, says_triggered: (12,), the classes that the model gives them.
        counts: (12,), whether the image counts for the ASR.
        called: (C,), how many of the triggered images that count are given each class.
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

    def needs(self) -> Needs:
        return Needs(brief=True)

    def measure(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        seed: int,
    ) -> Iterator[Partial]:
        """As `Measurement.measure` says; yields pictures, then rates, then the similarity.

        Raises SpecError for an attack that cannot be probed, or whose trigger changes nothing.
        """
        stamp = self.stamp(images, seed)
        attack = self.trigger()
        frozen = frozen_copy(model, images, labels)
        with torch.no_grad(), exact_float32():
            classes = frozen(images[:1]).shape[-1]
            channels, height, width = images.shape[1:]
            attack.check(classes, (channels, height, width))
            wanted, counts = attack.labels(labels, classes), attack.asr_mask(labels)
            shown = _examples(labels, counts)
            images = _eight_bit(images)
            triggered = attack.apply(images)
            effect(to_bytes(images).cpu().numpy(), 255 * triggered.cpu().numpy()).check(
                "images", attack.stronger
            )
            triggered = _eight_bit(triggered)
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
            called, before = (predictions(frozen, batch).argmax(1) for batch in (triggered, images))
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

    def trigger(self) -> Attack:
        """The attack that is probed. Raises SpecError when it has no trigger, or one that must be
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
        attack: Attack = build("attacks", choice)
        if attack.learned or not attack.poison_rate:
            raise SpecError(
                f"{choice.name} has no trigger before a training. A probe takes an attack whose "
                "trigger is a formula, such as badnets, blend or drawn."
            )
        return attack


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity of each pair of images: (N,); 1 means equal.

    x, y: float (N, C, H, W) in [0, 1].
    """
    return structural_similarity(x, y).flatten(1).mean(1)


def _examples(labels: Tensor, counts: Tensor) -> Tensor:
    """Places of at most 12 images: those that count come first, and one of each class before the
    second one of any.
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
