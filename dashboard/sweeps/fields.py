"""What the axes of a sweep are called, and their values: `parent.attack.poison_rate` is the poison
rate of the attack of the model that is purified.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from dashboard.charts.style import number
from dashboard.charts.titles import lane_title, short, title
from dashboard.kit import forms, library
from ngf.catalogue import catalogue
from ngf.config import Training
from ngf.options import describe_field

STAGES = {"train": "model", "purify": "purification", "measure": "measurement"}
BEGINNING = {"purify": "parent", "measure": "target"}  # as in `ngf.sweeps.spec`
PLUGINS = {"attack": "attacks", "lanes": "defenses", "measurement": "measurements"}
TRAINING = {item.name: describe_field(item) for item in fields(Training) if item.metadata}
_NAMES = {
    ("train", "seed"): "Model seed",
    ("train", "attack"): "Attack",
    ("train", "data"): "Data",
    ("train", "model"): "Network",
    ("purify", "seed"): "Purification seed",
    ("purify", "num_clean"): "Clean images",
    ("purify", "choosing"): "Settings are judged on",
    ("purify", "lanes"): "Defenses",
    ("purify", "lanes.0"): "Defense",
    ("purify", "parent"): "Model",
    ("measure", "seed"): "Measurement seed",
    ("measure", "measurement"): "Measurement",
    ("measure", "target"): "Model",
}
_LONGEST = 60  # characters of a value on a page


@dataclass(frozen=True)
class Place:
    """Where a path leads. kind: of the run that the field is of; field: its path in there."""

    kind: str
    field: str

    @property
    def stage(self) -> str:
        """What an axis is of: a model that is only named is a model as well."""
        if self.field == BEGINNING.get(self.kind):
            return STAGES["train"]
        return STAGES.get(self.kind, STAGES["train"])

    @property
    def plugins(self) -> str:
        """Of which kind the plug-ins are that the field names, or is an option of."""
        return PLUGINS.get(self.field.partition(".")[0], "")

    @property
    def option(self) -> str:
        """The option of a plug-in; empty where the field is the plug-in."""
        steps = self.field.split(".")[2 if self.field.startswith("lanes.") else 1 :]
        return steps[0] if steps else ""


def place_of(base: Mapping[str, Any], path: str) -> Place:
    """The run of the chain in `base` that the path leads into, and the rest of the path."""
    kind = str(base.get("kind"))
    field = BEGINNING.get(kind)
    inner = base.get(field) if field else None
    if isinstance(inner, Mapping) and path.startswith(f"{field}."):
        return place_of(inner, path.removeprefix(f"{field}."))
    return Place(kind, path)


def title_of(base: Mapping[str, Any], path: str) -> str:
    """An axis in words."""
    place = place_of(base, path)
    if (known := _NAMES.get((place.kind, place.field))) is not None:
        return known
    if (item := item_of(place)) is None:
        return path
    lane = place.field.split(".")[1] if place.field.startswith("lanes.") else "0"
    return forms.label(item) + (f" of lane {int(lane) + 1}" if lane.strip("0") else "")


def item_of(place: Place, among: Iterable[str] = ()) -> Mapping[str, Any] | None:
    """The field as the catalogue describes it, of the plug-ins `among` first; None for others."""
    if place.field.startswith("training."):
        return TRAINING.get(place.option)
    known = catalogue().get(place.plugins, {})
    return next(
        (
            item
            for name in (*among, *known)
            if name in known
            for item in known[name]["fields"]
            if item["name"] == place.option
        ),
        None,
    )


def word_of(base: Mapping[str, Any], path: str, value: Any) -> str:
    """A value of an axis in words."""
    place = place_of(base, path)
    if isinstance(value, Mapping):
        options = ", ".join(f"{key} {one}" for key, one in value.items() if key != "name")
        name = word_of(base, path, str(value.get("name", "")))
        return f"{name}, {options}"[:_LONGEST] if options else name
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        whole = isinstance(value, int) or place.field.endswith("seed")
        return f"{value:,}" if whole else number(value)
    if not isinstance(value, str):
        return str(value)[:_LONGEST]
    return _named(place, value)[:_LONGEST]


def _named(place: Place, value: str) -> str:
    if place.plugins == "defenses" and not place.option:
        return lane_title(value)
    if place.plugins and not place.option:
        return short(place.plugins, value)
    if place.kind == "train" and place.field in ("data", "model"):
        return title("data", value) if place.field == "data" else short("models", value)
    if place.field == BEGINNING.get(place.kind):
        run = library.find(value)
        return value if run is None else library.describe(run)
    return value.replace("_", " ")
