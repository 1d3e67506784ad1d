"""What the form says, and the sweep that it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dashboard.sweeps.fields import BEGINNING, TRAINING, Place, place_of
from ngf.catalogue import catalogue
from ngf.config import CHOOSING, TrainSpec
from ngf.options import SpecError
from ngf.sweeps.axes import in_text, values_in
from ngf.sweeps.spec import SweepSpec

STEPS = {
    "purify": "Purify",
    "measure": "Measure",
    "both": "Both",
    "train": "Only train",
}
SOURCES = {"trained": "By attack and seed", "named": "One by one"}
_MODEL = {"purify": "parent.", "measure": "target.", "both": "target.parent.", "train": ""}
_PURIFICATION = {"purify": "", "both": "target."}  # prefixes of the paths in each
_COUNTED = {"ge": None, "le": None, "choices": None, "expert": False, "unit": ""}


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What the form says.

    steps: of `STEPS`, what is done to each model; source: of `SOURCES`, how the models are told.
    data, network, attacks, model_seeds: of models that are trained where they are not there yet.
    models: names of runs that are there.
    seeds: of purifications. more: path -> values; they and all seeds as in `values_in`.
    """

    steps: str = "purify"
    source: str = "trained"
    data: str = TrainSpec.data
    network: str = TrainSpec.model
    attacks: tuple[str, ...] = ("badnets", "blend")
    model_seeds: str = "0"
    models: tuple[str, ...] = ()
    defenses: tuple[str, ...] = ("ngf", "sgd")
    measurement: str = "fisher_trace"
    seeds: str = "0..2"
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def purifies(self) -> bool:
        return self.steps in ("purify", "both")

    @property
    def measures(self) -> bool:
        return self.steps in ("measure", "both")

    @property
    def trains(self) -> bool:
        """Whether models are told by attack and seed."""
        return self.source == "trained" or self.steps == "train"

    def sweep(self) -> SweepSpec:
        """The sweep that is meant. Raises SpecError."""
        axes: dict[str, Any] = {}
        model, purification = _MODEL[self.steps], _PURIFICATION.get(self.steps, "")
        if self.trains:
            axes[f"{model}attack"] = _some(self.attacks, "attack")
            axes[f"{model}seed"] = values_in("Model seeds", self.model_seeds)
        else:
            axes[model.removesuffix(".")] = _some(self.models, "model")
        if self.purifies:
            axes[f"{purification}lanes.0"] = _some(self.defenses, "defense")
        known = self.fields()
        axes |= {p: values_in(p, text) for p, text in self.more.items() if p in known}
        if self.purifies:
            axes[f"{purification}seed"] = values_in("Purification seeds", self.seeds)
        plain = {path: list(values) for path, values in axes.items()}
        return SweepSpec.from_json({"kind": "sweep", "base": self.base(), "axes": plain})

    def base(self) -> dict[str, Any]:
        """The run of the first combination, but for what its axes say."""
        model: Any = self.models[0] if self.models else ""
        if self.trains:
            model = {"kind": "train", "attack": self.attacks[0]}
            model |= {"data": self.data} if self.data != TrainSpec.data else {}
            model |= {"model": self.network} if self.network != TrainSpec.model else {}
        if self.purifies:
            model = {"kind": "purify", "lanes": [self.defenses[0]], "parent": model}
        if self.measures:
            model = {"kind": "measure", "measurement": self.measurement, "target": model}
        return dict(model)

    def fields(self) -> dict[str, Mapping[str, Any]]:
        """What else can be varied: path -> the field as the catalogue describes it."""
        model, purification = _MODEL[self.steps], _PURIFICATION.get(self.steps, "")
        found: dict[str, Mapping[str, Any]] = {}
        if self.purifies:
            found[f"{purification}num_clean"] = {
                **_COUNTED,
                **{"name": "num_clean", "type": "int", "default": 500, "ge": 10, "le": 5000},
                "help": "Images that the defender trusts.",
            }
            found |= _options(f"{purification}lanes.0.", "defenses", self.defenses)
        if self.measures:
            found |= _options("measurement.", "measurements", (self.measurement,))
            found["seed"] = {
                **_COUNTED,
                **{"name": "seed", "type": "int", "default": 0},
                "help": "Draws the images, directions and probes of a measurement.",
            }
        if self.trains:
            found |= _options(f"{model}attack.", "attacks", self.attacks)
            found |= {f"{model}training.{name}": item for name, item in TRAINING.items()}
        if self.purifies:
            found[f"{purification}choosing"] = {
                **_COUNTED,
                **{"name": "choosing", "type": "str", "default": "", "choices": list(CHOOSING)},
                "help": "The defender's own images in two or five parts, or 1,000 reserved ones.",
            }
        return found

    def owners(self, path: str) -> tuple[str, ...]:
        """The chosen plug-ins that have an option; empty where all have it, or it is of none."""
        place = place_of(self.base(), path)
        chosen = {
            "attacks": self.attacks,
            "defenses": self.defenses,
            "measurements": (self.measurement,),
        }.get(place.plugins, ())
        having = tuple(name for name in chosen if _has(place, name))
        return () if having == chosen else having


def _some(chosen: tuple[str, ...], what: str) -> tuple[str, ...]:
    if not chosen:
        raise SpecError(f"Choose at least one {what}.")
    return chosen


def _options(prefix: str, kind: str, names: tuple[str, ...]) -> dict[str, Mapping[str, Any]]:
    """The fields of these plug-ins, each once."""
    found: dict[str, Mapping[str, Any]] = {}
    for name in names:
        for item in catalogue()[kind].get(name, {}).get("fields", ()):
            found.setdefault(f"{prefix}{item['name']}", item)
    return found


def _has(place: Place, name: str) -> bool:
    known = catalogue()[place.plugins].get(name, {}).get("fields", ())
    return any(item["name"] == place.option for item in known)


def draft_of(sweep: SweepSpec) -> Draft | None:
    """What the form says for a sweep; None where the form cannot say it."""
    for steps in STEPS:
        found = _read(sweep, steps)
        try:
            if _installed(found) and found.sweep() == sweep:
                return found
        except SpecError:
            continue
    return None


def _installed(draft: Draft) -> bool:
    """Whether every name is one that the form offers."""
    chosen = {
        "data": (draft.data,),
        "models": (draft.network,),
        "attacks": draft.attacks,
        "defenses": draft.defenses,
        "measurements": (draft.measurement,),
    }
    return all(name in catalogue()[kind] for kind, names in chosen.items() for name in names)


def _read(sweep: SweepSpec, steps: str) -> Draft:
    """What the form would say if the axes are where it puts them."""
    model, purification = _MODEL[steps], _PURIFICATION.get(steps)
    lists = {f"{model}attack": "attacks", model.removesuffix("."): "models"}
    texts = {f"{model}seed": "model_seeds"}
    if purification is not None:
        lists[f"{purification}lanes.0"] = "defenses"
        texts[f"{purification}seed"] = "seeds"
    told: dict[str, Any] = _constants(sweep.base)
    more: dict[str, str] = {}
    for path, values in sweep.axes.items():
        if path in lists:
            told[lists[path]] = tuple(map(str, values))
        elif path in texts:
            told[texts[path]] = in_text(values)
        else:
            more[path] = in_text(values)
    if "models" in told:
        told["source"] = "named"
    return Draft(steps=steps, more=more, **told)


def _constants(base: Mapping[str, Any]) -> dict[str, Any]:
    """What the form says of a run beside its axes."""
    found: dict[str, Any] = {}
    node: Any = base
    while isinstance(node, Mapping):
        if node.get("kind") == "measure":
            found["measurement"] = str(node.get("measurement"))
        if node.get("kind") == "train":
            names = {"data": "data", "model": "network"}
            found |= {names[key]: str(node[key]) for key in names if key in node}
        node = node.get(BEGINNING.get(str(node.get("kind")), ""))
    return found
