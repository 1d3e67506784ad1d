"""The kinds of images that a model can be measured on. No torch; `analysis.images` takes them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageKind:
    """One kind of images with the labels that belong to it.

    name: as in the option `data` of a measurement.
    title: on pages.
    rate: what the share of right answers then is: `ca`, `ra`, `asr` or plain `accuracy`.
    test: whether they are test images, as the final numbers are measured on.
    attacked: whether only a model with an attack has them.
    fixed: whether they can be made before training; an attacker in the loop has another mix in
        every batch.
    """

    name: str
    title: str
    rate: str
    test: bool = False
    attacked: bool = False
    fixed: bool = True


KINDS: dict[str, ImageKind] = {
    kind.name: kind
    for kind in (
        ImageKind("clean", "Clean images", "ca", test=True),
        ImageKind("triggered_true", "Triggered images, true labels", "ra", True, True),
        ImageKind("triggered_target", "Triggered images, target labels", "asr", True, True),
        ImageKind("train", "Training images", "ca"),
        ImageKind("validation", "Validation images", "ca"),
        # as the model saw it: clean, poisoned and cover images, not augmented
        ImageKind("poisoned", "Training mix, as poisoned", "accuracy", False, True, False),
    )
}


def kinds_of(*, attacked: bool, in_loop: bool) -> tuple[str, ...]:
    """What a model can be measured on. in_loop: whether the attacker controls its training."""
    return tuple(
        kind.name
        for kind in KINDS.values()
        if (attacked or not kind.attacked) and (kind.fixed or not in_loop)
    )


def title(name: str | None) -> str:
    """The title of a kind; empty for what is none."""
    return KINDS[name].title if name in KINDS else ""
