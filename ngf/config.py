"""What a run is: a frozen specification with one canonical JSON form, whose SHA-256 names the run.

A specification leaves out every field that holds its default, so adding a field with a default to a
dataclass here never changes the name of an old run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, ClassVar

# Characters of an option; text comes from addresses and forms, and is kept in every specification.
LONGEST_TEXT = 2000
LAYER_WORDS = (
    "auto",
    "fisher",
    "last",
    "all",
)  # what the option `layer` of a defense may be besides a layer's name


class SpecError(ValueError):
    """A specification that cannot be run; the message says what is allowed."""


def check_layer(layer: str, layers: Iterable[str]) -> None:
    """Raise SpecError, with the allowed ones, unless `layer` is one of `layers` or of
    `LAYER_WORDS`.
    """
    allowed = (*LAYER_WORDS, *layers)
    if layer not in allowed:
        raise SpecError(f"Unknown layer {layer!r}. Allowed: {', '.join(allowed)}.")


def option(
    default: Any,
    help: str,
    *,
    unit: str = "",
    ge: float | None = None,
    le: float | None = None,
    choices: tuple[Any, ...] | None = None,
    expert: bool = False,
) -> Any:
    """A dataclass field that describes itself: forms, command line and schema are made from it.

    `ge` and `le` are the inclusive bounds, `choices` the allowed values, `expert` hides the field
    behind a click.
    """
    meta = {"help": help, "unit": unit, "ge": ge, "le": le, "choices": choices, "expert": expert}
    return field(default=default, metadata=meta)


def check_value(owner: str, name: str, value: Any, about: Mapping[str, Any]) -> Any:
    """Return `value` in the type of the field that `about` describes, or raise SpecError.

    `about` has `default`, `ge`, `le`, `choices` (see `describe_field`). Text is converted, so the
    same check serves the command line, the URL and JSON.
    """
    kind = type(about["default"])
    where = f"{owner}.{name}" if owner else name
    try:
        if kind is bool:
            value = _to_bool(value)
        elif kind is int:
            if isinstance(value, bool) or int(float(value)) != float(value):
                raise ValueError
            value = int(float(value))
        elif kind is float:
            value = float(value)
            if value != value or value in (float("inf"), float("-inf")):
                raise ValueError
        elif not isinstance(value, str):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise SpecError(f"{where} = {value!r} is not {_KINDS[kind]}.") from None
    if kind is str and len(value) > LONGEST_TEXT:
        raise SpecError(
            f"{where} has {len(value):,} characters. Allowed: {LONGEST_TEXT:,} or fewer."
        )
    choices, low, high = about.get("choices"), about.get("ge"), about.get("le")
    if choices and value not in choices:
        raise SpecError(
            f"{where} = {value!r} is not known. Allowed: {', '.join(map(str, choices))}."
        )
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = (
            f"from {low} to {high}"
            if None not in (low, high)
            else (f"{low} or more" if high is None else f"{high} or less")
        )
        raise SpecError(f"{where} = {value} is out of range. Allowed: {bounds}.")
    return value


_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def _to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in ("true", "1", "yes", "on"):
        return True
    if text in ("false", "0", "no", "off"):
        return False
    raise ValueError


def describe_field(item: Field) -> dict[str, Any]:
    """One field of a plug-in as plain JSON: name, type, default, help, unit, ge, le, choices,
    expert.
    """
    about = {"name": item.name, "type": type(item.default).__name__, "default": item.default}
    about.update({"help": "", "unit": "", "ge": None, "le": None, "choices": None, "expert": False})
    about.update(item.metadata)
    if about["choices"] is not None:
        about["choices"] = list(about["choices"])
    return about


def check_fields(instance: Any) -> None:
    """Validate every `option` of a dataclass instance; for `__post_init__`."""
    owner = type(instance).__name__.lower()
    for item in fields(instance):
        if "help" in item.metadata:
            value = check_value(
                owner, item.name, getattr(instance, item.name), describe_field(item)
            )
            object.__setattr__(instance, item.name, value)


@dataclass(frozen=True)
class Choice:
    """A plug-in by name, with the options that differ from its defaults.

    JSON form: `{"name": "badnets", "size": 4}`.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, **dict(sorted(self.options.items()))}

    @classmethod
    def from_json(cls, obj: Any) -> Choice:
        if isinstance(obj, str):
            return cls(obj)
        if not isinstance(obj, Mapping) or not isinstance(obj.get("name"), str):
            raise SpecError(
                f"{obj!r} is not a plug-in: it needs a name, as in {{'name': 'badnets'}}."
            )
        return cls(obj["name"], {key: value for key, value in obj.items() if key != "name"})

    def __hash__(self) -> int:
        return hash(json.dumps(self.to_json(), sort_keys=True))


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a network is trained: SGD with a one-cycle learning rate on augmented images."""

    num_images: int = option(
        10_000, "Training images, poisoned ones included.", ge=16, le=2_000_000
    )
    epochs: int = option(20, "Passes over the training images.", ge=1, le=1000)
    batch_size: int = option(128, "Images in one step.", ge=2, le=8192)
    lr: float = option(0.1, "Peak learning rate of the one-cycle schedule.", ge=1e-6, le=10.0)
    momentum: float = option(0.9, "Momentum of SGD.", ge=0.0, le=0.999)
    weight_decay: float = option(5e-4, "L2 penalty on the weights.", ge=0.0, le=1.0)
    min_ca: float = option(0.80, "Below this clean accuracy the model is refused.", ge=0.0, le=1.0)
    min_asr: float = option(
        0.60, "Below this attack success rate a backdoored model is refused.", ge=0.0, le=1.0
    )

    __post_init__ = check_fields


class _Spec:
    kind: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """The canonical form: plain JSON, defaults left out, `kind` always there."""
        out: dict[str, Any] = {"kind": self.kind}
        for item in fields(self):
            value = getattr(self, item.name)
            default = (
                item.default
                if item.default is not MISSING
                else (item.default_factory() if item.default_factory is not MISSING else MISSING)
            )
            if value != default:
                out[item.name] = _plain(value)
        return out

    @property
    def id(self) -> str:
        """Readable prefix and the first ten digits of the SHA-256 of the canonical JSON."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return f"{self._slug()}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"

    def _slug(self) -> str:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class TrainSpec(_Spec):
    """Train `model` on `data` under `attack` (`none` gives a benign model)."""

    kind: ClassVar[str] = "train"
    data: str = "signs"
    model: str = "preact_resnet_tiny"
    attack: Choice = Choice("none")
    training: Training = Training()
    seed: int = 0

    def _slug(self) -> str:
        return f"{self.data}-{self.attack.name}-s{self.seed}".replace("_", "-")


@dataclass(frozen=True, kw_only=True)
class PurifySpec(_Spec):
    """Purify the model of run `parent` by each defense in `lanes`.

    All lanes start from the same weights and see the same batches; two or more lanes are a race.
    """

    kind: ClassVar[str] = "purify"
    parent: str
    lanes: tuple[Choice, ...]
    num_clean: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.lanes:
            raise SpecError("A purification needs at least one defense.")
        check_value("", "num_clean", self.num_clean, {"default": 0, "ge": 10, "le": 5000})

    def lane_names(self) -> tuple[str, ...]:
        """One name a lane: the defense's, numbered from the second of a kind on (`sgd`,
        `sgd-2`).
        """
        seen: dict[str, int] = {}
        names = []
        for lane in self.lanes:
            seen[lane.name] = seen.get(lane.name, 0) + 1
            count = seen[lane.name]
            names.append(lane.name if count == 1 else f"{lane.name}-{count}")
        return tuple(names)

    def _slug(self) -> str:
        return "-vs-".join(dict.fromkeys(lane.name for lane in self.lanes)).replace("_", "-")


@dataclass(frozen=True, kw_only=True)
class MeasureSpec(_Spec):
    """Measure something on the weights of run `target` (`id`, or `id:lane` of a purification)."""

    kind: ClassVar[str] = "measure"
    target: str
    measurement: Choice
    seed: int = 0

    def _slug(self) -> str:
        return self.measurement.name.replace("_", "-")


Spec = TrainSpec | PurifySpec | MeasureSpec
_SPECS: dict[str, type] = {cls.kind: cls for cls in (TrainSpec, PurifySpec, MeasureSpec)}


def spec_from_json(obj: Any) -> Spec:
    """Build a specification from its JSON form; unknown or ill-typed fields raise SpecError."""
    if not isinstance(obj, Mapping) or obj.get("kind") not in _SPECS:
        raise SpecError(f"A run has a kind: one of {', '.join(_SPECS)}.")
    cls = _SPECS[obj["kind"]]
    known = {item.name for item in fields(cls)}
    unknown = sorted(set(obj) - known - {"kind"})
    if unknown:
        raise SpecError(f"Unknown field {', '.join(unknown)}. Allowed: {', '.join(sorted(known))}.")
    values = {name: value for name, value in obj.items() if name != "kind"}
    for name in ("data", "model", "parent", "target"):
        if name in values and not isinstance(values[name], str):
            raise SpecError(f"{name} = {values[name]!r} is not a text.")
    for name in ("seed", "num_clean"):
        if name in values:
            values[name] = check_value(
                "", name, values[name], {"default": 0, "ge": 0, "le": 2**31 - 1}
            )
    for name in ("attack", "measurement"):
        if name in values:
            values[name] = Choice.from_json(values[name])
    if "lanes" in values:
        if not isinstance(values["lanes"], (list, tuple)):
            raise SpecError("lanes is a list of defenses.")
        values["lanes"] = tuple(Choice.from_json(lane) for lane in values["lanes"])
    if "training" in values:
        values["training"] = _training_from_json(values["training"])
    missing = [
        f.name
        for f in fields(cls)
        if f.default is MISSING and f.default_factory is MISSING and f.name not in values
    ]
    if missing:
        raise SpecError(f"A {cls.kind} run needs {', '.join(missing)}.")
    return cls(**values)


def _training_from_json(obj: Any) -> Training:
    known = {item.name for item in fields(Training)}
    if not isinstance(obj, Mapping) or set(obj) - known:
        raise SpecError(f"training takes {', '.join(sorted(known))}.")
    return Training(**obj)


def _plain(value: Any) -> Any:
    if isinstance(value, Choice):
        return value.to_json()
    if isinstance(value, Training):
        return {
            f.name: getattr(value, f.name)
            for f in fields(value)
            if getattr(value, f.name) != f.default
        }
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
