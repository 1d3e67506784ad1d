"""Puts triggers on training images, and builds the triggered test set that ASR is measured on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ngf.attacks.base import Attack, Covered, OwnTrainingTrigger
from ngf.attacks.shared.effect import Effect, effect
from ngf.data.images import Images, empty, rows, to_bytes, to_float
from ngf.options import SpecError

_CHUNK = 2048  # images changed at once, at most
_VALUES = 2**24  # numbers in them, at most
_CACHED = (
    128 * 3 * 32 * 32
)  # numbers whose floats stay in the cache of a CPU core: several times faster
_LOOKED_AT = 100  # images, at most, on which a trigger is compared with none


@dataclass(frozen=True)
class PoisonedImages:
    """A training mix. `triggered` and `cover` (bool, (N,)) mark what the attack changed."""

    data: Images
    triggered: torch.Tensor
    cover: torch.Tensor


@dataclass(frozen=True)
class Triggered:
    """Triggered test images: `data.labels` are the true classes, `wanted` the attacker's."""

    data: Images
    wanted: torch.Tensor


def apply_in_chunks(attack: Attack, images: torch.Tensor) -> torch.Tensor:
    """The trigger on uint8 images (N, C, H, W), as uint8."""
    # A network sees the same parts whatever computes: its last bits may depend on how many images
    # it sees at once.
    formula = images.device.type == "cpu" and not attack.learned
    return _in_chunks(
        lambda part, here: attack.apply(part), images, _CACHED if formula else _VALUES
    )


def check_test_trigger(attack: Attack, test: Images) -> None:
    """Raise SpecError when the trigger leaves most of the test images that count for the ASR as
    they are: such an attack cannot succeed.
    """
    effect_on_test(attack, test).check("test images", attack.stronger)


def effect_on_test(attack: Attack, test: Images) -> Effect:
    """What the trigger changes on test images that count for the ASR."""
    places = attack.asr_mask(test.labels).nonzero()[:, 0]
    return _effect(test.images, places, lambda part, _: attack.apply(part))


def check_training_trigger(attack: Attack, clean: Images, mix: PoisonedImages) -> None:
    """Raise SpecError when the trigger leaves most of the training images that it was put on as
    they are: there is nothing to learn.
    """

    def change(part: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        if isinstance(attack, OwnTrainingTrigger):
            return attack.apply_train(part, index, torch.Generator().manual_seed(0))
        return attack.apply(part)

    found = _effect(clean.images, mix.triggered.nonzero()[:, 0], change)
    found.check("poisoned training images", attack.stronger)


def _effect(
    images: torch.Tensor,
    places: torch.Tensor,
    change: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> Effect:
    """What a trigger changes on the images at `places`, int64 (n,): on 100 of them at most, evenly
    spread.

    change: gives floats the trigger; it is told their places, too.
    """
    count = min(_LOOKED_AT, max(1, _VALUES // images.shape[1:].numel()), len(places))
    index = places[torch.linspace(0, len(places) - 1, count).round().long()]
    clean = rows(images, index)
    with torch.no_grad():
        triggered = change(to_float(clean), index) if count else to_float(clean)
    return effect(clean.numpy(), triggered.mul(255).numpy())


def _in_chunks(
    change: Callable[[torch.Tensor, slice], torch.Tensor],
    images: torch.Tensor,
    values: int = _VALUES,
) -> torch.Tensor:
    """`change` of uint8 images, as uint8; it gets parts of them as floats, and where in
    `images` they are.
    """
    out = empty(len(images), images.shape[1:], images.device)
    step = max(1, min(_CHUNK, values // images.shape[1:].numel()))
    for start in range(0, len(images), step):
        here = slice(start, start + step)
        out[here] = to_bytes(change(to_float(images[here]), here))
    return out


def poison(clean: Images, attack: Attack, num_classes: int, seed: int) -> PoisonedImages:
    """The training mix of `attack`: `poison_rate` of all images carry the trigger, drawn by `seed`.

    Raises SpecError when the rate leaves no image or the target does not exist.
    """
    count = len(clean)
    triggered, cover = torch.zeros(count, dtype=torch.bool), torch.zeros(count, dtype=torch.bool)
    rate = attack.poison_rate
    if not rate:
        return PoisonedImages(clean, triggered, cover)
    attack.check(num_classes, clean.shape)
    rng = torch.Generator().manual_seed(seed)
    wanted_count = round(rate * count)
    candidates = attack.candidates(clean.labels).nonzero()[:, 0]
    if not 1 <= wanted_count <= len(candidates):
        raise SpecError(
            f"A poison rate of {rate:g} asks for {wanted_count} of {count:,} images, but "
            f"{len(candidates)} can be poisoned. Choose a rate from {1 / count:.2g} to "
            f"{len(candidates) / count:.2g}."
        )
    order = candidates[torch.randperm(len(candidates), generator=rng)]
    chosen = order[:wanted_count]
    images, labels = rows(clean.images, torch.arange(count)), clean.labels.clone()
    if isinstance(attack, OwnTrainingTrigger):
        images[chosen] = _in_chunks(
            lambda part, here: attack.apply_train(part, chosen[here], rng), clean.images[chosen]
        )
    else:
        images[chosen] = apply_in_chunks(attack, clean.images[chosen])
    labels[chosen] = (
        clean.labels[chosen]
        if attack.clean_label
        else attack.labels(clean.labels[chosen], num_classes)
    )
    triggered[chosen] = True
    if isinstance(attack, Covered) and round(attack.cover_rate * count):
        covered = _cover_images(attack, clean, triggered, rng)
        images[covered] = to_bytes(
            attack.cover(to_float(clean.images[covered]), clean.labels[covered], rng)
        )
        cover[covered] = True
    return PoisonedImages(Images(images, labels), triggered, cover)


def _cover_images(
    attack: Covered, clean: Images, triggered: torch.Tensor, rng: torch.Generator
) -> torch.Tensor:
    """Which images become cover images: int64 (N,). Raises SpecError when there are too few."""
    count = round(attack.cover_rate * len(clean))
    free = (~triggered & attack.cover_candidates(clean.labels)).nonzero()[:, 0]
    if count > len(free):
        raise SpecError(
            f"A cover rate of {attack.cover_rate:g} asks for {count:,} of {len(clean):,} images, "
            f"but {len(free):,} are left beside the {int(triggered.sum()):,} that are poisoned. "
            "Lower the cover rate or the poison rate."
        )
    return free[torch.randperm(len(free), generator=rng)[:count]]


def trigger_test_set(test: Images, attack: Attack, num_classes: int) -> Triggered:
    """Every test image that counts for ASR, with the trigger on; the target class is never
    among them.
    """
    attack.check(num_classes, test.shape)
    kept = test.take(attack.asr_mask(test.labels))
    wanted = attack.labels(kept.labels, num_classes)
    if len(kept) == 0 or bool((wanted == kept.labels).any()):
        raise SpecError(
            f"The triggered test set of {attack} is empty or still holds images of the target "
            f"class ({int((wanted == kept.labels).sum())} of {len(kept)}); its ASR would be wrong."
        )
    return Triggered(Images(apply_in_chunks(attack, kept.images), kept.labels), wanted)
