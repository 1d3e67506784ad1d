"""What of a model's openness a purification has closed, where nobody knows the trigger.

An opener is one change of the pixels, the same for all images, that sends images of other classes
to a class. Two kinds are searched for on the model before purification, for every class, from clean
images alone: universal perturbations (`analysis.detectors.universal`) and reversed triggers (Wang
et al. 2019, Neural Cleanse, IEEE Symposium on Security and Privacy;
`ngf.defenses.unlearning.reversal`). They are then frozen and shown to the purified model as well.
Found on the model before, they are the same for every purification of it, and no purification has
been trained against them; searched for anew on each purified model they would measure how
vulnerable it is, and no two would be measured alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from analysis.detectors.standing_out import cost_of_rates, index_of, most_suspicious
from analysis.detectors.universal import perturb
from analysis.image_kinds import kinds_of
from analysis.measurements.base import Measurement, Needs
from analysis.model_under_test import FORWARD_CHUNK, exact_float32, frozen_copy
from analysis.result import Partial, Value
from ngf.defenses.batches import step_rng
from ngf.defenses.unlearning.reversal import BATCH, Reversal, stamped
from ngf.evaluate import wilson
from ngf.options import SpecError, option

CLEAN = kinds_of(attacked=False, in_loop=False)
KINDS, _WHEN = ("universal", "trigger"), ("before", "after")
_EVERY = 20  # steps of a search between two partial results
# Share of the time after each part.
_MOVED, _UNIVERSAL, _SEARCHED = 0.03, 0.25, 0.93


class Openers(NamedTuple):
    """Frozen changes of the pixels, (K, C, H, W) each, masks (K, 1, H, W); one for each class.

    trigger_size: share of the image that each trigger takes, (K,).
    """

    perturbations: Tensor
    masks: Tensor
    patterns: Tensor
    trigger_size: Tensor

    def shown(self, kind: str, c: int, images: Tensor) -> Tensor:
        """Images (N, C, H, W) with the opener of this kind and class."""
        if kind == "universal":
            return (images + self.perturbations[c]).clamp(0, 1)
        return stamped(images, self.masks[c], self.patterns[c])


@dataclass(frozen=True, kw_only=True)
class Yardstick(Measurement):
    """How much of what opened the model before purification still opens it, and how far its
    predictions on clean images moved.

    Openers are fitted on every other image and judged on the rest (a single image on itself), of
    which those of the class itself are left out. K is the number of classes.

    Values, None until they are known:
        suspicious_class: the one that stands out most before purification, by both kinds.
        universal_before, universal_after, trigger_before, trigger_after: share of the judged images
            of other classes that the opener sends to the suspicious class.
        opened: how many pairs of an image and an opener the model before sends there.
        left: the share of those that the purified model sends there as well; None if `opened` is 0.
            It ranks purifications of one model: the lower the better.
        left_low, left_high: 95 % Wilson interval that counts each image once, for its two pairs
            depend on each other.
        moved: share of all images whose predicted class is another one, with moved_low and
            moved_high, its 95 % Wilson interval.
        trigger_steps, universal_steps, epsilon: of the searches.

    Arrays:
        universal_rate_before, universal_rate_after, trigger_rate_before, trigger_rate_after: (K,),
            shares as above, for every class.
    """

    title: ClassVar[str] = "Yardstick without a trigger"

    num_images: int = option(
        500, "Images to measure on, drawn by the seed.", unit="images", ge=1, le=100_000
    )
    trigger_steps: int = option(
        100, "Steps of the search for a trigger of every class.", unit="steps", ge=5, le=10_000
    )
    universal_steps: int = option(
        30,
        "Steps of the search for a universal perturbation of every class.",
        unit="steps",
        ge=1,
        le=10_000,
    )
    epsilon: float = option(
        16 / 255,
        "Largest change of a pixel by a universal perturbation, of a range of one.",
        ge=1e-4,
        le=1.0,
    )

    def needs(self) -> Needs:
        return Needs(models="pair", reference=True)

    def measure(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        seed: int,
        reference: nn.Module | None = None,
    ) -> Iterator[Partial]:
        """As `Measurement.measure` says; yields how far predictions moved first, then in the course
        of the searches.

        reference: the model before purification; of the same classes, its network may be another.

        Raises SpecError for images that are not clean, ValueError without a reference or with one
        of other classes.
        """
        if self.data not in CLEAN:
            raise SpecError(
                f"data = {self.data} has a trigger, and a yardstick knows of none. "
                f"Allowed: {', '.join(CLEAN)}."
            )
        if reference is None:
            raise ValueError(
                "A yardstick needs two models. Choose a purified model (run:lane); what opens its "
                "backdoored parent is the yardstick."
            )
        stamp = self.stamp(images, seed)
        after = frozen_copy(model, images, labels)
        before = frozen_copy(reference, images, labels)
        values: dict[str, Value] = {
            **{name: getattr(self, name) for name in ("trigger_steps", "universal_steps")},
            "epsilon": self.epsilon,
            **dict.fromkeys(("suspicious_class", *(f"{k}_{w}" for k in KINDS for w in _WHEN))),
            **dict.fromkeys(("opened", "left", "left_low", "left_high")),
            **moved(before, after, images),
        }
        yield Partial(values={**values, **stamp()}, fraction=_MOVED)
        search = Search(self, before, images, labels, seed)
        for share in search.run():
            fraction = _MOVED + (_SEARCHED - _MOVED) * share
            yield Partial(values={**values, **stamp()}, fraction=fraction)
        held = Held(search.openers(), before, images, labels)
        found, arrays = held.against(after)
        yield Partial(values={**values, **found, **stamp()}, arrays=arrays, fraction=1.0, done=True)


def moved(before: nn.Module, after: nn.Module, images: Tensor) -> dict[str, Value]:
    """Share of the images that the two models call by different classes, with its interval.

    Raises ValueError for models of different classes.
    """
    first, then = (_logits(model, images) for model in (before, after))
    if first.shape != then.shape:
        raise ValueError(
            f"The model before has {first.shape[1]} classes, the purified one {then.shape[1]}. "
            "A yardstick compares two models of the same classes."
        )
    count = int((first.argmax(1) != then.argmax(1)).sum())
    low, high = wilson(count, len(images))
    return {"moved": count / len(images), "moved_low": low, "moved_high": high}


class Search:
    """For openers of every class of a frozen model; the seed decides all that is random."""

    def __init__(
        self, options: Yardstick, model: nn.Module, images: Tensor, labels: Tensor, seed: int
    ) -> None:
        fit = slice(0, None, 2)
        self.options, self.model, self.seed = options, model, seed
        self.images, self.labels = images[fit], labels[fit]
        classes = int(_logits(model, images[:1]).shape[1])
        channels, height, width = images.shape[1:]
        weight = next(model.parameters())
        self.perturbations = images.new_zeros(classes, *images.shape[1:])
        self.reversal = Reversal(classes, (channels, height, width), weight)

    def run(self) -> Iterator[float]:
        """Both searches; yields the share of the work that is done."""
        steps, universal = self.options.universal_steps, _UNIVERSAL / _SEARCHED
        search = perturb(
            self.model,
            self.images,
            self.labels,
            len(self.perturbations),
            epsilon=self.options.epsilon,
            steps=steps,
            seed=self.seed,
        )
        for step, self.perturbations in enumerate(search, start=1):
            if step % _EVERY == 0 or step == steps:
                yield universal * step / steps
        for share in self._reverse(self.options.trigger_steps):
            yield universal + (1 - universal) * share

    def _reverse(self, steps: int) -> Iterator[float]:
        search, ended = self.reversal, False
        while not ended:
            rng = step_rng(self.seed, search.step)
            drawn = torch.randperm(len(self.images), generator=rng)[:BATCH].to(self.labels.device)
            with exact_float32():
                search.advance(self.model, self.images[drawn], self.labels[drawn])
            ended = search.step == steps or bool(search.done.all())
            if ended or search.step % _EVERY == 0:
                yield 1.0 if ended else search.step / steps

    def openers(self) -> Openers:
        """What was found so far, frozen."""
        found = self.reversal.triggers()
        sizes = found.sizes / found.masks[0].numel()
        return Openers(self.perturbations, found.masks, found.patterns, sizes)


class Held:
    """Openers, and whom they send where in the model that they were found on."""

    def __init__(self, openers: Openers, before: nn.Module, images: Tensor, labels: Tensor) -> None:
        judge = slice(1 if len(images) > 1 else 0, None, 2)
        self.openers = openers
        self.images, self.labels = images[judge], labels[judge]
        self.before = {kind: self._sent(before, kind) for kind in KINDS}
        own = torch.bincount(self.labels, minlength=len(openers.masks)).cpu()
        self.count = len(self.labels) - own
        hits = self.before["universal"].sum(1)
        self.suspicious = most_suspicious(
            index_of(openers.trigger_size.cpu()), index_of(cost_of_rates(hits, self.count))
        )

    def against(self, after: nn.Module) -> tuple[dict[str, Value], dict[str, np.ndarray]]:
        """Values and arrays of a purified model, frozen; see `Yardstick`."""
        c = self.suspicious
        values: dict[str, Value] = {"suspicious_class": c}
        arrays: dict[str, np.ndarray] = {}
        opened, kept = torch.zeros(len(self.images)).int(), torch.zeros(len(self.images)).int()
        for kind in KINDS:
            sent = dict(zip(_WHEN, (self.before[kind], self._sent(after, kind)), strict=True))
            for when, there in sent.items():
                rates = there.sum(1).double() / self.count.clamp(min=1)
                arrays[f"{kind}_rate_{when}"] = rates.numpy()
                values[f"{kind}_{when}"] = float(arrays[f"{kind}_rate_{when}"][c])
            opened += sent["before"][c]
            kept += sent["before"][c] & sent["after"][c]
        return values | _left(int(opened.sum()), int(kept.sum()), int((opened > 0).sum())), arrays

    def _sent(self, model: nn.Module, kind: str) -> Tensor:
        """Whether the opener of each class sends each image there, of other classes: bool (K, N),
        on the CPU.
        """
        rows = []
        for c in range(len(self.openers.masks)):
            logits = _logits(model, self.openers.shown(kind, c, self.images))
            rows.append((logits.argmax(1) == c) & (self.labels != c))
        return torch.stack(rows).cpu()


def _left(opened: int, kept: int, images: int) -> dict[str, Value]:
    """opened, kept: pairs of an image and an opener. images: how many have any that opened."""
    if not opened:
        return {"opened": 0, "left": None, "left_low": None, "left_high": None}
    left = kept / opened
    low, high = wilson(round(left * images), images)
    return {
        "opened": opened,
        "left": left,
        "left_low": min(low, left),
        "left_high": max(high, left),
    }


@torch.no_grad()
def _logits(model: nn.Module, images: Tensor) -> Tensor:
    with exact_float32():
        return torch.cat([model(x) for x in images.split(FORWARD_CHUNK)])
