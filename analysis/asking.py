"""Which runs measure what of a purification: the same for pages, and for what ships. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from analysis.image_kinds import KINDS, kinds_of
from ngf.catalogue import catalogue, normalize
from ngf.config import Choice, MeasureSpec

# How a slice walks away from the weights: options of `loss_slice`.
WALKS: Mapping[str, Mapping[str, Any]] = {
    "steepest": {
        "direction": "filter_eigenvectors",
        "distance": "length",
        "directions": 1,
        "reach": 0.3,
    },
    "random": {},
    # each model in a unit of its own, so that all bowls look alike by construction
    "eigenvectors": {"direction": "eigenvectors", "directions": 1, "reach": 1.0},
}
PLANES: Mapping[str, Mapping[str, Any]] = {  # options of `loss_plane`
    "models": {"plane": "models"},
    "steepest": {"plane": "filter_eigenvectors", "distance": "length", "reach": 0.3},
    "random": {},
    "eigenvectors": {"plane": "eigenvectors"},
}
PLANE_IMAGES = 256  # a plane has hundreds of cells; half the images are twice the speed
TRIGGERED = "triggered_true"  # where a valley shows that clean images do not have


class Model(Protocol):
    """A model that can be measured.

    target: as in `MeasureSpec`, `id` or `id:lane`.
    role: benign, backdoored or purified.
    kinds: the images that it can be measured on, see `analysis.image_kinds`.
    """

    @property
    def target(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def kinds(self) -> tuple[str, ...]: ...


_Model = TypeVar("_Model", bound=Model)


def options_of(name: str, *, walk: str, plane: str, cells: int) -> dict[str, Any]:
    """What a reader chose for the measurement `name`, beside images and seed.

    walk, plane: of `WALKS` and `PLANES`.
    cells: along each axis of the plane.
    """
    if name == "loss_slice":
        return dict(WALKS[walk])
    if name == "loss_plane":
        return {**PLANES[plane], "points": cells, "num_images": PLANE_IMAGES}
    return {}


def specs(
    name: str,
    models: Sequence[_Model],
    *,
    images: str,
    seed: int,
    options: Mapping[str, Any],
    third: str,
) -> list[tuple[_Model, MeasureSpec]]:
    """The runs that measure `name`, one per model and kind of images; none if this version has no
    such measurement. What needs a pair is measured on purified models.

    models: benign, backdoored and purified ones, in that order, as far as they are there.
    third: the third model of a plane, as a target.
    """
    about = catalogue()["measurements"].get(name)
    if about is None:
        return []
    options, needs = dict(options), about["needs"]
    for option, values in about["needs_with"].items():
        needs = values.get(options.get(option), needs)
    if needs["others"]:
        options[needs["others"]] = third
    wanted = _kinds(name, needs, images)
    pairs = [(model, kind) for model in models for kind in model.kinds if kind in wanted]
    if needs["models"] == "pair":
        pairs = [(model, kind) for model, kind in pairs if model.role == "purified"]
    elif needs["models"] == "one":  # the one before purification, if there are several
        pairs = pairs[-2:][:1]
    return [(model, spec(name, model.target, seed, data=kind, **options)) for model, kind in pairs]


def _kinds(name: str, needs: Mapping[str, Any], images: str) -> list[str]:
    """What is measured on, where a reader has chosen `images`."""
    if needs["all_images"]:  # the backdoor is on triggered images, whatever is chosen
        return [*(kind.name for kind in KINDS.values() if kind.test), images]
    if name == "loss_plane" and needs["models"] == "pair":
        return [images, TRIGGERED]
    return [images]


def kinds_under(attack: str) -> tuple[str, ...]:
    """The images that a model trained under this attack can be measured on."""
    in_loop = catalogue()["attacks"].get(attack, {}).get("controlled", False)
    return kinds_of(attacked=attack != "none", in_loop=in_loop)


def along(target: str, images: str = "clean") -> MeasureSpec:
    """Sharpness on the way to a model, at the steps whose weights were kept."""
    return spec("along_run", target, 0, data=images)


def probe(target: str, attack: Choice) -> MeasureSpec:
    """What a trigger does to a model. The poison rate does not matter to it. Raises SpecError."""
    options = {name: value for name, value in attack.options.items() if name != "poison_rate"}
    text = json.dumps(Choice(attack.name, options).to_json(), sort_keys=True, separators=(",", ":"))
    return spec("trigger_probe", target, 0, attack=text)


def spec(name: str, target: str, seed: int, **options: Any) -> MeasureSpec:
    """The run that measures one model; options that the measurement does not have are left out.
    Raises SpecError.
    """
    known = {item["name"] for item in catalogue()["measurements"][name]["fields"]}
    choice = Choice(name, {key: value for key, value in options.items() if key in known})
    return MeasureSpec(target=target, seed=seed, measurement=normalize("measurements", choice))
