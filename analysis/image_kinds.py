"""The kinds of images that a model can be measured on; `analysis.images` takes them. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from ngf.options import SpecError


@dataclass(frozen=True)
class ImageKind:
    """One kind of images, with the labels that belong to it.

    name: as in the option `data` of a measurement.
    title: on pages.
    rate: what the share of right answers on them is called: `ca`, `ra`, `asr` or `accuracy`.
    test: whether they are test images, as final numbers are measured on.
    attacked: whether only a model that was attacked has them.
    fixed: whether they are known before training; an attacker in the loop makes another mix in
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
        ImageKind(
            "triggered_true", "Triggered images, true labels", "ra", test=True, attacked=True
        ),
        ImageKind(
            "triggered_target", "Triggered images, target labels", "asr", test=True, attacked=True
        ),
        ImageKind("train", "Training images", "ca"),
        ImageKind("validation", "Validation images", "ca"),
        # As the model saw it, but for the augmentation: clean, poisoned and cover images.
        ImageKind("poisoned", "Training mix, as poisoned", "accuracy", attacked=True, fixed=False),
    )
}


def kinds_of(*, attacked: bool, in_loop: bool) -> tuple[str, ...]:
    """Names of what a model can be measured on.

    attacked: whether it was attacked.
    in_loop: whether the attacker controls its training.
    """
    return tuple(
        kind.name
        for kind in KINDS.values()
        if (attacked or not kind.attacked) and (kind.fixed or not in_loop)
    )


def check_kind(name: str, *, attacked: bool, in_loop: bool) -> None:
    """Raise SpecError for a kind of images that a model does not have; see `kinds_of`."""
    allowed = kinds_of(attacked=attacked, in_loop=in_loop)
    if name in allowed:
        return
    reason = (
        "This attack makes its poisoned images anew in every batch, so there is no mix to measure "
        "on."
        if in_loop
        else "This model was trained without an attack, so it has no triggered or poisoned images."
    )
    raise SpecError(f"{reason} Allowed for it: {', '.join(allowed)}.")


def title(name: str | None) -> str:
    """The title of a kind; empty for a name that is none."""
    return KINDS[name].title if name in KINDS else ""
